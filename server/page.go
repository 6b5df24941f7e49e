package server

import (
	"crypto/subtle"
	"net/http"
)

// cookie holds the token after the first request, so that it does not stay in the address bar.
const cookie = "troupe-inspect"

// pageHandler serves the inspection to a browser on this machine that shows the token. Pods' specs and logs are not
// here: what a page shows should not need more trust than looking.
func (s *Server) pageHandler() http.Handler {
	mux := http.NewServeMux()
	s.inspectRoutes(mux)
	mux.HandleFunc("GET /actors/ui", s.inspect.ServePage)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/actors/ui", http.StatusFound) })
	return access(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.isToken(r.URL.Query().Get("token")) {
			http.SetCookie(w, &http.Cookie{Name: cookie, Value: s.cfg.InspectToken, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
			return
		}
		if c, err := r.Cookie(cookie); err != nil || !s.isToken(c.Value) {
			http.Error(w, "Unauthorized: open the address with its token, as it was printed at the start", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	}))
}

func (s *Server) isToken(given string) bool {
	return subtle.ConstantTimeCompare([]byte(given), []byte(s.cfg.InspectToken)) == 1
}
