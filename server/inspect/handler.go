package inspect

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/troupe-dev/troupe/supervisor/registry"
	"github.com/troupe-dev/troupe/supervisor/runner"
)

// page is the whole inspection page: markup, style and script in one file, no other address is asked for anything.
//
//go:embed page.html
var page []byte

// Handler serves the inspection. Build it with New.
type Handler struct {
	Pods    Pods
	Actors  Actors
	Effects Effects
	scrub   scrubber
}

// New returns a handler.
func New(pods Pods, actors Actors, effects Effects) *Handler {
	return &Handler{Pods: pods, Actors: actors, Effects: effects, scrub: newScrubber()}
}

// topMailboxes is how many of the deepest mailboxes are listed.
const topMailboxes = 10

// Inspection is the answer to /actors.
type Inspection struct {
	registry.Tree
	// Effects are the lanes of the effect runner.
	Effects runner.Snapshot `json:"effects"`
	// Stuck are the actors that have had a message in hand for too long, Top those with the deepest mailboxes.
	Stuck []registry.Node `json:"stuck"`
	Top   []registry.Node `json:"top"`
}

// ServeActors answers with the tree. ?path=/pods/<uid> gives that part alone; ?brief leaves out records and details.
func (h *Handler) ServeActors(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if path := q.Get("path"); path != "" {
		n, ok := h.Actors.Find(path)
		if !ok {
			http.Error(w, fmt.Sprintf("no actor %q", path), http.StatusNotFound)
			return
		}
		h.answer(w, n)
		return
	}
	now := time.Now()
	in := Inspection{Tree: h.Actors.Snapshot(), Effects: h.Effects.Snapshot(), Stuck: h.Actors.Stuck(now, stuckAfter), Top: h.Actors.Top(topMailboxes)}
	if _, short := q["brief"]; short {
		strip(in.Roots)
	}
	if in.Stuck == nil {
		in.Stuck = []registry.Node{}
	}
	if in.Top == nil {
		in.Top = []registry.Node{}
	}
	h.answer(w, in)
}

// strip removes what makes a snapshot large.
func strip(nodes []registry.Node) {
	for i := range nodes {
		n := &nodes[i]
		n.Events, n.Actions, n.Detail = nil, nil, nil
		strip(n.Children)
	}
}

// ServeExplain answers why the pod is where it is; as text with ?format=text or Accept: text/plain.
func (h *Handler) ServeExplain(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	a, ok := h.explain(r.PathValue("namespace"), r.PathValue("pod"), now)
	if !ok {
		http.Error(w, fmt.Sprintf("pod %q does not exist", r.PathValue("pod")), http.StatusNotFound)
		return
	}
	if r.URL.Query().Get("format") == "text" || strings.HasPrefix(r.Header.Get("Accept"), "text/plain") {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write(h.scrub.bytes([]byte(Text(a, now))))
		return
	}
	h.answer(w, a)
}

// ServePage answers with the inspection page.
func (h *Handler) ServePage(w http.ResponseWriter, _ *http.Request) {
	hd := w.Header()
	hd.Set("Content-Type", "text/html; charset=utf-8")
	hd.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	hd.Set("X-Content-Type-Options", "nosniff")
	hd.Set("Referrer-Policy", "no-referrer")
	_, _ = w.Write(page)
}

func (h *Handler) answer(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "encode inspection: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(h.scrub.bytes(b))
}
