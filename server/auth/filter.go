package auth

import (
	"fmt"
	"net/http"
	"slices"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/klog/v2"
)

// Filter lets a request through to next when its sender is known and allowed; otherwise it answers 401, 403 or, when the
// authorizer cannot be asked, 500, with the kubelet's bodies. Where neverAnonymous says so, a sender without
// credentials is refused even if anonymous requests are enabled and everything is allowed.
func (a *Auth) Filter(next http.Handler, neverAnonymous func(path string) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		log := klog.FromContext(r.Context())
		res, ok, err := a.who.AuthenticateRequest(r)
		if err != nil {
			log.Error(err, "Unable to authenticate the request due to an error")
		}
		if err != nil || !ok || (neverAnonymous(r.URL.Path) && isAnonymous(res.User)) {
			refuse(w, http.StatusUnauthorized, "Unauthorized")
			return
		}
		attrs := attributes(a.node, res.User, r)
		for _, attr := range attrs {
			decision, _, err := a.may.Authorize(r.Context(), attr)
			if err != nil {
				log.Error(err, "Authorization error", "user", res.User.GetName(), "verb", attr.GetVerb(),
					"resource", attr.GetResource(), "subresource", attr.GetSubresource())
				refuse(w, http.StatusInternalServerError, fmt.Sprintf("Authorization error (user=%s, verb=%s, resource=%s, subresource=%s)",
					res.User.GetName(), attr.GetVerb(), attr.GetResource(), attr.GetSubresource()))
				return
			}
			if decision == authorizer.DecisionAllow {
				next.ServeHTTP(w, r)
				return
			}
		}
		subs := Subresources(r.URL.Path)
		log.V(2).Info("Forbidden", "user", res.User.GetName(), "verb", Verb(r.Method), "resource", "nodes", "subresources", subs)
		refuse(w, http.StatusForbidden, fmt.Sprintf("Forbidden (user=%s, verb=%s, resource=%s, subresource(s)=%v)\n",
			res.User.GetName(), Verb(r.Method), "nodes", subs))
	})
}

// refuse writes the answer exactly: clients compare the bodies.
func refuse(w http.ResponseWriter, code int, body string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(body))
}

// isAnonymous says whether the sender showed no credentials.
func isAnonymous(u user.Info) bool {
	return u.GetName() == user.Anonymous || slices.Contains(u.GetGroups(), user.AllUnauthenticated)
}
