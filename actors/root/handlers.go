package root

import v1 "k8s.io/api/core/v1"

// handlers says what the runtime's handlers can do, by their names ("" is the default one). It is never changed; the maps
// are nil before the runtime has said.
type handlers struct{ known, recursiveReadOnly, userNamespaces map[string]bool }

func abilities(list []v1.NodeRuntimeHandler) *handlers {
	out := &handlers{map[string]bool{}, map[string]bool{}, map[string]bool{}}
	for _, h := range list {
		out.known[h.Name] = true
		if f := h.Features; f != nil {
			out.recursiveReadOnly[h.Name] = f.RecursiveReadOnlyMounts != nil && *f.RecursiveReadOnlyMounts
			out.userNamespaces[h.Name] = f.UserNamespaces != nil && *f.UserNamespaces
		}
	}
	return out
}

func (h *Host) abilities() handlers {
	if p := h.handlers.Load(); p != nil {
		return *p
	}
	return handlers{}
}
