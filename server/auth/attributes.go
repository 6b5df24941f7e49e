package auth

import (
	"net/http"
	"strings"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// area maps a part of the node API to the subresources of nodes that open it. One that is allowed is enough; they are
// asked in order, so the finer permission comes first (KEP-2862).
type area struct {
	path         string
	subresources []string
}

// areas is the kubelet's mapping (pkg/kubelet/server/auth.go); what is not listed is nodes/proxy.
func areas() []area {
	return []area{
		{"/pods", []string{"pods", "proxy"}},
		{"/runningpods", []string{"pods", "proxy"}},
		{"/healthz", []string{"healthz", "proxy"}},
		{"/configz", []string{"configz", "proxy"}},
		{"/stats", []string{"stats"}},
		{"/metrics", []string{"metrics"}},
		{"/logs", []string{"log"}},
		{"/checkpoint", []string{"checkpoint"}},
		{"/statusz", []string{"statusz"}},
		{"/flagz", []string{"configz"}},
	}
}

// Subresources returns the subresources of nodes that open the path, in the order in which they are to be asked.
func Subresources(path string) []string {
	for _, a := range areas() {
		if path == a.path || strings.HasPrefix(path, a.path+"/") {
			return a.subresources
		}
	}
	return []string{"proxy"}
}

// Verb returns the API verb of an HTTP method; "" for methods that have none.
func Verb(method string) string {
	switch method {
	case http.MethodPost:
		return "create"
	case http.MethodGet:
		return "get"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		return "patch"
	case http.MethodDelete:
		return "delete"
	}
	return ""
}

// attributes returns what is asked of the authorizer for a request to the named node, one for each subresource.
func attributes(node string, u user.Info, r *http.Request) []authorizer.Attributes {
	var attrs []authorizer.Attributes
	for _, sub := range Subresources(r.URL.Path) {
		attrs = append(attrs, authorizer.AttributesRecord{
			User: u, Verb: Verb(r.Method), APIVersion: "v1", Resource: "nodes", Subresource: sub,
			Name: node, ResourceRequest: true, Path: r.URL.Path,
		})
	}
	return attrs
}
