// Package fieldpath reads what the downward API may show of a pod: metadata fields and container resources. It is pure
// and shared by downward API volumes and by environment variables. Formats are those that the Kubernetes API documents
// for FieldRef and ResourceFieldRef.
package fieldpath

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Extract returns the value of a metadata field of the pod: metadata.name, .namespace, .uid, .labels, .annotations, and
// single labels or annotations as metadata.labels['key']. A missing key is the empty string, an unknown path an error.
func Extract(pod *v1.Pod, path string) (string, error) {
	if base, key, ok := Subscript(path); ok {
		return extractKey(pod, path, base, key)
	}
	switch path {
	case "metadata.annotations":
		return FormatMap(pod.Annotations), nil
	case "metadata.labels":
		return FormatMap(pod.Labels), nil
	case "metadata.name":
		return pod.Name, nil
	case "metadata.namespace":
		return pod.Namespace, nil
	case "metadata.uid":
		return string(pod.UID), nil
	}
	return "", fmt.Errorf("unsupported fieldPath: %v", path)
}

// Addresses are what only the running pod knows; primary addresses come first.
type Addresses struct {
	PodIPs  []string
	HostIPs []string
}

// ExtractEnv returns the value of a field for an environment variable: what Extract knows, and spec.nodeName,
// spec.serviceAccountName, status.hostIP(s) and status.podIP(s), which volumes cannot show.
func ExtractEnv(pod *v1.Pod, path string, addr Addresses) (string, error) {
	switch path {
	case "spec.nodeName", "spec.host":
		return pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	case "status.hostIP":
		return first(addr.HostIPs), nil
	case "status.hostIPs":
		return strings.Join(addr.HostIPs, ","), nil
	case "status.podIP":
		return first(addr.PodIPs), nil
	case "status.podIPs":
		return strings.Join(addr.PodIPs, ","), nil
	}
	return Extract(pod, path)
}

// FormatMap renders labels or annotations as sorted lines key="value", the value quoted as a Go string.
func FormatMap(m map[string]string) string {
	keys := make([]string, 0, len(m))
	size := 0
	for k, v := range m {
		keys = append(keys, k)
		size += len(k) + len(v) + len("=\"\"\n")
	}
	slices.Sort(keys)
	out := make([]byte, 0, size)
	for i, k := range keys {
		if i > 0 {
			out = append(out, '\n')
		}
		out = append(out, k...)
		out = append(out, '=')
		out = strconv.AppendQuote(out, m[k])
	}
	return string(out)
}

// Subscript splits "metadata.labels['key']" into the field and the key; ok is false when the path has no subscript.
func Subscript(path string) (field, key string, ok bool) {
	rest, ok := strings.CutSuffix(path, "']")
	if !ok {
		return path, "", false
	}
	field, key, ok = strings.Cut(rest, "['")
	if !ok || field == "" {
		return path, "", false
	}
	return field, key, true
}

func extractKey(pod *v1.Pod, path, base, key string) (string, error) {
	var from map[string]string
	name := key
	switch base {
	case "metadata.annotations":
		from, name = pod.Annotations, strings.ToLower(key)
	case "metadata.labels":
		from = pod.Labels
	default:
		return "", fmt.Errorf("fieldPath %q does not support subscript", path)
	}
	if errs := validation.IsQualifiedName(name); len(errs) != 0 {
		return "", fmt.Errorf("invalid key subscript in %s: %s", path, strings.Join(errs, ";"))
	}
	return from[key], nil
}

func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}
