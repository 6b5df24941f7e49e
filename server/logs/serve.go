package logs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages/model"
)

// Pods finds pods with the newest status that this agent built.
type Pods interface {
	Get(namespace, name string) (*v1.Pod, bool)
	ByUID(uid types.UID) (*v1.Pod, bool)
}

// Containers is the part of the runtime that logs need.
type Containers interface {
	ContainerStatus(ctx context.Context, id model.ContainerID) (model.Container, error)
}

// Handler serves /containerLogs/{namespace}/{pod}/{container}; the pattern must have these wildcards.
type Handler struct {
	Pods    Pods
	Runtime Containers
	Reader  *Reader
	// CallTimeout bounds each call to the runtime.
	CallTimeout time.Duration
}

// ServeHTTP answers with the kubelet's status codes and texts.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ns, name, container := r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container")
	o, err := Decode(r.URL.Query(), time.Now())
	switch {
	case errors.Is(err, ErrUndecodable):
		fail(w, http.StatusBadRequest, `{"message": "Unable to decode query."}`)
		return
	case err != nil:
		fail(w, http.StatusUnprocessableEntity, `{"message": "Invalid request."}`)
		return
	}
	pod, ok := h.Pods.Get(ns, name)
	if !ok {
		fail(w, http.StatusNotFound, fmt.Sprintf("pod %q does not exist", name))
		return
	}
	if !HasContainer(pod, container) {
		fail(w, http.StatusNotFound, fmt.Sprintf("container %q not found in pod %q", container, name))
		return
	}
	id, err := Pick(pod, container, o.Previous)
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	ctx := r.Context()
	st, err := h.status(ctx, id)
	if err != nil {
		klog.FromContext(ctx).V(4).Info("Failed to get container status", "containerID", id, "err", err)
		fail(w, http.StatusBadRequest, fmt.Sprintf("unable to retrieve container logs for %s", id))
		return
	}
	began := false
	sink := Sink{Flush: func() { _ = http.NewResponseController(w).Flush() }}
	if o.Stdout {
		sink.Out = w
	}
	if o.Stderr {
		sink.Err = w
	}
	live := &liveness{h: h, uid: pod.UID, container: container, id: id}
	err = h.Reader.Read(ctx, st.LogPath, o, live, sink, func() {
		began = true
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusOK)
		if o.Follow {
			sink.Flush() // a follower learns at once that the log is open, even if nothing is ever written
		}
	})
	if err == nil || ctx.Err() != nil {
		return
	}
	if !began {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	klog.FromContext(ctx).V(2).Info("Reading a container log ended early", "namespace", ns, "pod", name, "container", container, "err", err)
	_, _ = w.Write([]byte(err.Error()))
}

// status asks the runtime about one instance.
func (h *Handler) status(ctx context.Context, id model.ContainerID) (model.Container, error) {
	ctx, cancel := context.WithTimeout(ctx, h.CallTimeout)
	defer cancel()
	return h.Runtime.ContainerStatus(ctx, id)
}

// fail writes exactly the text, as the kubelet does.
func fail(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text))
}

// liveness watches one instance through the agent's status and, where it matters, through the runtime.
type liveness struct {
	h         *Handler
	uid       types.UID
	container string
	id        model.ContainerID
}

// Ended asks the runtime by id. No answer, or an answer that leaves doubt, is not an end.
func (l *liveness) Ended(ctx context.Context) bool {
	c, err := l.h.status(ctx, l.id)
	switch cri.ClassOf(err) {
	case model.OutcomeOK:
		return c.State == model.ContainerExited || c.State == model.ContainerUnknown
	case model.OutcomeNotFound:
		return true
	case model.OutcomeRefused, model.OutcomeUnknown:
		return false
	}
	return false
}

// Doubt looks at the newest status.
func (l *liveness) Doubt() bool {
	pod, ok := l.h.Pods.ByUID(l.uid)
	return !ok || RunningID(pod, l.container) != l.id
}
