// Package stream connects clients with processes: exec, attach and port-forward through the runtime's own streaming
// server, whose address the runtime gives for each request; run and checkpoint as plain calls.
package stream

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/httpstream/wsstream"
	"k8s.io/apimachinery/pkg/util/proxy"
	translator "k8s.io/apiserver/pkg/util/proxy"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/server/logs"
)

// Pods finds pods with the newest status that this agent built.
type Pods interface {
	Get(namespace, name string) (*v1.Pod, bool)
	ByUID(uid types.UID) (*v1.Pod, bool)
}

// Runtime is the part of the runtime that streaming needs.
type Runtime interface {
	ListPodSandbox(ctx context.Context, filter cri.SandboxFilter) ([]model.Sandbox, error)
	ListContainers(ctx context.Context, filter cri.ContainerFilter) ([]model.Container, error)
	ExecSync(ctx context.Context, id model.ContainerID, command []string, timeout time.Duration) (cri.ExecResult, error)
	Exec(ctx context.Context, req *runtimeapi.ExecRequest) (string, error)
	Attach(ctx context.Context, req *runtimeapi.AttachRequest) (string, error)
	PortForward(ctx context.Context, req *runtimeapi.PortForwardRequest) (string, error)
	CheckpointContainer(ctx context.Context, id model.ContainerID, location string, timeout time.Duration) error
}

// Server serves the streaming paths. Patterns must have the wildcards namespace and pod, container where there is one,
// and may have uid.
type Server struct {
	Pods    Pods
	Runtime Runtime
	// CallTimeout bounds the calls that only ask for an address or a list (runtimeRequestTimeout).
	CallTimeout time.Duration
	// CheckpointDir is where checkpoint archives go (<root-dir>/checkpoints).
	CheckpointDir string
	// WebSocket is told of each WebSocket request ("exec", "attach", "portforward"); may be nil.
	WebSocket func(subresource string)
}

// Exec runs a command in a container with its streams attached.
func (s *Server) Exec(w http.ResponseWriter, r *http.Request) {
	s.remoteCommand(w, r, "exec", func(ctx context.Context, t target, o *remotecommand.Options) (string, error) {
		return s.Runtime.Exec(ctx, &runtimeapi.ExecRequest{
			ContainerId: string(t.id), Cmd: r.URL.Query()["command"],
			Tty: o.TTY, Stdin: o.Stdin, Stdout: o.Stdout, Stderr: o.Stderr,
		})
	})
}

// Attach connects to the streams of a container's own process.
func (s *Server) Attach(w http.ResponseWriter, r *http.Request) {
	s.remoteCommand(w, r, "attach", func(ctx context.Context, t target, o *remotecommand.Options) (string, error) {
		return s.Runtime.Attach(ctx, &runtimeapi.AttachRequest{
			// Whether a process has a terminal was decided when it was created.
			ContainerId: string(t.id), Tty: t.tty,
			Stdin: o.Stdin, Stdout: o.Stdout, Stderr: o.Stderr,
		})
	})
}

// remoteCommand asks the runtime for an address and joins the client with it.
func (s *Server) remoteCommand(w http.ResponseWriter, r *http.Request, kind string,
	ask func(context.Context, target, *remotecommand.Options) (string, error)) {
	o, err := remotecommand.NewOptions(r)
	if err != nil {
		plain(w, http.StatusBadRequest, err.Error())
		return
	}
	pod, ok := s.pod(w, r)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.CallTimeout)
	defer cancel()
	t, err := s.running(ctx, pod, r.PathValue("container"))
	if err != nil {
		_ = streaming.WriteError(err, w)
		return
	}
	location, err := address(ask(ctx, t, o))
	if err != nil {
		_ = streaming.WriteError(err, w)
		return
	}
	if wsstream.IsWebSocketRequestWithStreamCloseProtocol(r) {
		s.countWebSocket(kind)
		translator.NewStreamTranslatorHandler(location, nil, 0, translator.Options{
			Stdin: o.Stdin, Stdout: o.Stdout, Stderr: o.Stderr, Tty: o.TTY,
		}).ServeHTTP(w, r)
		return
	}
	join(location).ServeHTTP(w, r)
}

// PortForward connects to ports inside a pod's sandbox.
func (s *Server) PortForward(w http.ResponseWriter, r *http.Request) {
	tunnel := wsstream.IsWebSocketRequestWithTunnelingProtocol(r)
	o := &portforward.V4Options{}
	if !tunnel { // through the tunnel the ports come with its streams
		var err error
		if o, err = portforward.NewV4Options(r); err != nil {
			plain(w, http.StatusBadRequest, err.Error())
			return
		}
	}
	pod, ok := s.pod(w, r)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.CallTimeout)
	defer cancel()
	sandbox, err := s.sandbox(ctx, pod)
	if err != nil {
		_ = streaming.WriteError(err, w)
		return
	}
	location, err := address(s.Runtime.PortForward(ctx, &runtimeapi.PortForwardRequest{PodSandboxId: string(sandbox), Port: o.Ports}))
	if err != nil {
		_ = streaming.WriteError(err, w)
		return
	}
	var h http.Handler = join(location)
	if tunnel {
		s.countWebSocket("portforward")
		h = translator.NewTunnelingHandler(h)
	}
	h.ServeHTTP(w, r)
}

func (s *Server) countWebSocket(kind string) {
	if s.WebSocket != nil {
		s.WebSocket(kind)
	}
}

// join copies between the client and the runtime's streaming server; the request must ask for an upgrade.
func join(location *url.URL) *proxy.UpgradeAwareHandler {
	return proxy.NewUpgradeAwareHandler(location, &http.Transport{DialContext: dial}, false, true, responder{})
}

// responder answers when the two could not be joined.
type responder struct{}

// Error implements proxy.ErrorResponder.
func (responder) Error(w http.ResponseWriter, r *http.Request, err error) {
	klog.FromContext(r.Context()).Error(err, "Error while proxying request")
	http.Error(w, err.Error(), http.StatusInternalServerError)
}

// address parses what the runtime answered.
func address(raw string, err error) (*url.URL, error) {
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("parse the runtime's streaming address: %w", err)
	}
	return u, nil
}

// plain writes exactly the text, as the kubelet does.
func plain(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text))
}

// target is a running container.
type target struct {
	id  model.ContainerID
	tty bool
}

// pod finds the pod of a request, or answers 404.
func (s *Server) pod(w http.ResponseWriter, r *http.Request) (*v1.Pod, bool) {
	pod, ok := s.Pods.Get(r.PathValue("namespace"), r.PathValue("pod"))
	if !ok {
		plain(w, http.StatusNotFound, "pod does not exist")
		return nil, false
	}
	if uid := types.UID(r.PathValue("uid")); uid != "" && uid != pod.UID {
		// A mirror pod has a UID of its own: it names the same pod.
		if same, ok := s.Pods.ByUID(uid); !ok || same.UID != pod.UID {
			plain(w, http.StatusNotFound, "pod not found")
			return nil, false
		}
	}
	return pod, true
}

// running finds the running instance of a container: by the newest status, and where that shows none by asking the
// runtime, which knows of a start a little earlier.
func (s *Server) running(ctx context.Context, pod *v1.Pod, container string) (target, error) {
	t := target{id: logs.RunningID(pod, container), tty: hasTTY(pod, container)}
	if t.id != "" {
		return t, nil
	}
	list, err := s.Runtime.ListContainers(ctx, cri.ContainerFilter{UID: pod.UID})
	if err != nil {
		return t, err
	}
	for _, c := range list {
		if c.Name == container && c.State == model.ContainerRunning {
			t.id = c.ID
			return t, nil
		}
	}
	return t, fmt.Errorf("container not found (%q)", container)
}

// sandbox finds the pod's newest ready sandbox.
func (s *Server) sandbox(ctx context.Context, pod *v1.Pod) (model.SandboxID, error) {
	list, err := s.Runtime.ListPodSandbox(ctx, cri.SandboxFilter{UID: pod.UID})
	if err != nil {
		return "", err
	}
	var best model.Sandbox
	for _, b := range list {
		if b.State == model.SandboxReady && (best.ID == "" || b.CreatedAt.After(best.CreatedAt)) {
			best = b
		}
	}
	if best.ID == "" {
		return "", fmt.Errorf("pod not found (%q)", pod.Name+"_"+pod.Namespace)
	}
	return best.ID, nil
}

// hasTTY says whether the spec gives the container a terminal.
func hasTTY(pod *v1.Pod, container string) bool {
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == container {
			return pod.Spec.Containers[i].TTY
		}
	}
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == container {
			return pod.Spec.InitContainers[i].TTY
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		if pod.Spec.EphemeralContainers[i].Name == container {
			return pod.Spec.EphemeralContainers[i].TTY
		}
	}
	return false
}
