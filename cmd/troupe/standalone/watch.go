package standalone

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
)

// refresh is how often the view asks what a pod that is not ready waits for. Only while somebody waits.
const refresh = 250 * time.Millisecond

// watch shows the pods until all have ended, ctx ends or a stop is asked for.
func (r *run) watch(ctx context.Context) error {
	ticker := time.NewTicker(refresh)
	defer ticker.Stop()
	var timeout <-chan time.Time
	if r.o.Timeout > 0 {
		t := time.NewTimer(r.o.Timeout)
		defer t.Stop()
		timeout = t.C
	}
	announced := false
	for {
		switch all := r.look(); {
		case all.ended == all.total:
			if all.failed > 0 {
				return fmt.Errorf("%d of %d pods failed", all.failed, all.total)
			}
			return nil
		case all.ready+all.ended == all.total && !announced:
			announced = true
			ticker.Stop() // from here on, changes tell
			timeout = nil
			r.stand("running", nil)
			r.announce()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case grace := <-r.stop:
			r.stop <- grace // for the end
			return nil
		case <-timeout:
			return fmt.Errorf("%w (%v)", errTimeout, r.o.Timeout)
		case <-r.changed:
		case <-ticker.C:
		}
	}
}

type tally struct{ total, ready, ended, failed int }

// look shows every pod's line and counts.
func (r *run) look() tally {
	t := tally{total: len(r.objects.Pods)}
	seen := sets.New[string]()
	for _, p := range r.agent.Pods() {
		key := podKey(p)
		seen.Insert(key)
		outcome, doing := Judge(p)
		switch outcome {
		case Ready:
			if p.Status.PodIP != "" { // a pod that was taken over is ready before it was looked at in full
				t.ready++
			}
		case Succeeded:
			t.ended++
		case Failed:
			t.ended++
			t.failed++
		case Pending:
			doing = r.detail(p, doing)
		}
		r.view.Set(key, doing)
	}
	for _, p := range r.objects.Pods {
		if !seen.Has(podKey(p)) {
			t.ended++
		}
	}
	return t
}

// patience is how long a pod may do one thing before plain output says why.
const patience = 10 * time.Second

// detail says more about what a pod does: always on a terminal, where the line is rewritten; in plain output only when
// the pod has done the same for long, and then once in a while.
func (r *run) detail(p *v1.Pod, doing string) string {
	if r.o.Terminal == 0 {
		at, same := r.since[p.UID], r.doing[p.UID] == doing
		if !same || time.Since(at) < patience {
			if !same {
				r.since[p.UID], r.doing[p.UID] = time.Now(), doing
			}
			return r.view.Line(podKey(p), doing, same)
		}
		r.since[p.UID] = time.Now()
	}
	if why := r.agent.Explain(p); why != "" {
		return why
	}
	return doing
}

func podKey(p *v1.Pod) string {
	if p.Namespace == v1.NamespaceDefault {
		return p.Name
	}
	return p.Namespace + "/" + p.Name
}

// announce says where the pods are and what to type next.
func (r *run) announce() {
	var b strings.Builder
	b.WriteString("\n")
	for _, p := range r.agent.Pods() {
		urls := URLs(p)
		if len(urls) == 0 && p.Status.PodIP != "" {
			urls = []string{p.Status.PodIP}
		}
		fmt.Fprintf(&b, "  %-20s %s\n", podKey(p), strings.Join(urls, "  "))
	}
	state, socket := "", ""
	if r.l.Dir != DefaultStateDir {
		state, socket = " --state-dir "+r.l.Dir, " --socket "+r.l.InspectSocket()
	}
	pod := podKey(r.objects.Pods[0])
	fmt.Fprintf(&b, "\n  inspection   %s\n               curl --unix-socket %s http://troupe/actors\n", r.agent.InspectURL(), r.l.InspectSocket())
	fmt.Fprintf(&b, "  what next    troupe ps%s\n               troupe logs -f%s %s\n", state, state, pod)
	fmt.Fprintf(&b, "               troupe tree%s\n               troupe explain%s %s\n", socket, socket, pod)
	if r.o.Detached {
		fmt.Fprintf(&b, "  to end it    troupe stop%s\n\n", state)
	} else {
		b.WriteString("  to end it    Ctrl-C\n\n")
	}
	r.view.Print("%s", b.String())
}

// URLs are where a pod answers: its TCP container ports at its IP, and host ports on this machine. Names that say https
// are taken at their word.
func URLs(p *v1.Pod) []string {
	var out []string
	for _, c := range p.Spec.Containers {
		for _, port := range c.Ports {
			if port.Protocol != "" && port.Protocol != v1.ProtocolTCP {
				continue
			}
			scheme := "http"
			if strings.Contains(port.Name, "https") || port.ContainerPort == 443 {
				scheme = "https"
			}
			if p.Status.PodIP != "" {
				out = append(out, fmt.Sprintf("%s://%s", scheme, hostPort(p.Status.PodIP, port.ContainerPort)))
			}
			if port.HostPort != 0 && !p.Spec.HostNetwork {
				host := port.HostIP
				if host == "" || host == "0.0.0.0" || host == "::" {
					host = "localhost"
				}
				out = append(out, fmt.Sprintf("%s://%s", scheme, hostPort(host, port.HostPort)))
			}
		}
	}
	return out
}

func hostPort(host string, port int32) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("%s:%d", host, port)
}

// end ends the pods, then everything that the run started. It goes on after a fault and reports all of them. A further
// interrupt shortens the pods' grace.
func (r *run) end(fault error, interrupts <-chan os.Signal) error {
	r.stand("ending", fault)
	if fault != nil {
		r.view.Print("troupe run: %v\n", fault)
	}
	ctx, cancel := context.WithTimeout(context.Background(), endLimit)
	defer cancel()
	var errs []error
	if r.agent != nil {
		err := r.endPods(ctx, interrupts)
		if err != nil && r.private != nil { // what is left is swept with its runtime
			r.view.Print("%v: removing them by force\n", err)
			err = nil
		}
		errs = append(errs, err)
	}
	if r.private != nil && r.child.PID() != 0 {
		errs = append(errs, r.sweep(ctx))
	}
	if r.agent != nil {
		errs = append(errs, r.agent.Stop(ctx))
	}
	if r.client != nil {
		_ = r.client.Close()
	}
	errs = append(errs, r.endHost(ctx))
	if r.control != nil {
		r.control.close()
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("the run did not end cleanly (`troupe stop` tries again): %w", err)
	}
	r.view.Set("run", "everything has ended")
	_ = os.Remove(r.l.ControlSocket())
	return removeIfThere(r.l.RecordFile())
}

// sweep removes pods that are left. The runtime may be on its way back from a fault just now.
func (r *run) sweep(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, endSlack)
	defer cancel()
	if _, err := r.client.CheckVersion(wait); err != nil {
		return err
	}
	return SweepRuntime(ctx, r.client)
}

// endLimit bounds the end of a run as a whole. endSlack is what pods get beyond the longest grace among them.
const (
	endLimit = 10 * time.Minute
	endSlack = 30 * time.Second
)

func (r *run) longestGrace() time.Duration {
	longest := time.Duration(0)
	for _, p := range r.objects.Pods {
		g := int64(v1.DefaultTerminationGracePeriodSeconds)
		if p.Spec.TerminationGracePeriodSeconds != nil {
			g = *p.Spec.TerminationGracePeriodSeconds
		}
		longest = max(longest, time.Duration(g)*time.Second)
	}
	return longest
}

// endHost takes down the private runtime and what it left on the host. An existing runtime stays as it is.
func (r *run) endHost(ctx context.Context) error {
	if r.private == nil {
		return r.record.Cgroups.Remove(ctx)
	}
	r.view.Set("runtime", "ending")
	err := r.child.Stop(ctx)
	return errors.Join(err, SweepHost(ctx, r.l, r.record.Cgroups, r.record.Before), removeIfThere(r.l.ContainerdSocket()), removeIfThere(r.l.ContainerdSocket()+".ttrpc"))
}

// endPods asks every pod to end and waits until the last has.
func (r *run) endPods(ctx context.Context, interrupts <-chan os.Signal) error {
	var grace *int64
	ask := func() {
		for _, p := range r.agent.Pods() {
			r.agent.Delete(p.UID, grace)
		}
	}
	select {
	case grace = <-r.stop:
	default:
	}
	ask()
	ticker := time.NewTicker(refresh)
	defer ticker.Stop()
	ctx, cancel := context.WithTimeout(ctx, r.longestGrace()+endSlack)
	defer cancel()
	for {
		pods := r.agent.Pods()
		if len(pods) == 0 {
			return nil
		}
		for _, p := range pods {
			r.view.Set(podKey(p), r.detail(p, "ending"))
		}
		one := int64(1)
		select {
		case <-interrupts:
			if grace != nil && *grace <= one {
				return fmt.Errorf("%d pods were given up", len(pods))
			}
			grace = &one
			r.view.Print("again: ending with a grace of 1 s\n")
			ask()
		case g := <-r.stop:
			if g != nil {
				grace = g
			}
			ask()
		case <-r.changed:
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("%d pods did not end within %v", len(pods), r.longestGrace()+endSlack)
		}
	}
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
