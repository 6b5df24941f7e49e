package probe

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/model"
)

// Run runs a lifecycle hook to its end. message is what events and logs say of a failure.
func (r *Runner) Run(ctx context.Context, pod *v1.Pod, c *v1.Container, id model.ContainerID, ips []string, h *v1.LifecycleHandler) (string, error) {
	who := fmt.Sprintf("for Container %q in Pod \"%s_%s(%s)\" failed", c.Name, pod.Name, pod.Namespace, pod.UID)
	switch {
	case h.Exec != nil:
		res, err := r.Runtime.ExecSync(ctx, id, h.Exec.Command, 0)
		output := cut(append(res.Stdout, res.Stderr...))
		if err == nil && res.ExitCode != 0 {
			err = fmt.Errorf("command '%s' exited with %d: %s", strings.Join(h.Exec.Command, " "), res.ExitCode, output)
		}
		if err != nil {
			return fmt.Sprintf("Exec lifecycle hook (%v) %s - error: %v, message: %q", h.Exec.Command, who, err, output), err
		}
	case h.HTTPGet != nil:
		if err := r.hookRequest(ctx, pod, c, ips, h.HTTPGet); err != nil {
			return fmt.Sprintf("HTTP lifecycle hook (%s) %s - error: %v", h.HTTPGet.Path, who, err), err
		}
	case h.Sleep != nil:
		t := time.NewTimer(time.Duration(h.Sleep.Seconds) * time.Second)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			err := errors.New("container terminated before sleep hook finished")
			return fmt.Sprintf("Sleep lifecycle hook (%d) %s - error: %v", h.Sleep.Seconds, who, err), err
		}
	default:
		err := errors.New("invalid handler: a lifecycle hook is exec, httpGet or sleep (tcpSocket is not supported)")
		return "Cannot run handler: " + err.Error(), err
	}
	return "", nil
}

// hookRequest asks by https or http; a server that answers an https hook in http is asked again that way. Any answer at
// all is a success, whatever its status says: the kubelet's hooks work so.
func (r *Runner) hookRequest(ctx context.Context, pod *v1.Pod, c *v1.Container, ips []string, g *v1.HTTPGetAction) error {
	ip := ""
	if len(ips) > 0 {
		ip = ips[0]
	} else if g.Host == "" {
		return errors.New("failed to find networking container: the pod has no address")
	}
	req, err := request(ctx, g, c, ip, "kube-lifecycle/"+r.Version)
	if err != nil {
		return err
	}
	cl, closeIdle := client(nil)
	defer closeIdle()
	err = ask(cl, req)
	if err == nil || !strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
		return err
	}
	again := req.Clone(ctx)
	again.URL.Scheme = "http"
	again.Header.Del("Authorization")
	if err := ask(cl, again); err != nil {
		return err
	}
	if r.Fallback != nil {
		r.Fallback(pod, req.URL.Host)
	}
	return nil
}

func ask(cl *http.Client, req *http.Request) error {
	resp, err := cl.Do(req)
	if err != nil {
		return err
	}
	readBody(resp.Body)
	return resp.Body.Close()
}
