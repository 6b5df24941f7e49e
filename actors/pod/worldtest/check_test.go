package worldtest

import (
	"fmt"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/actors/container/containerplan"
	"github.com/troupe-dev/troupe/actors/pod/podplan"
	"github.com/troupe-dev/troupe/messages/containermsg"
	"github.com/troupe-dev/troupe/messages/model"
	"github.com/troupe-dev/troupe/messages/podmsg"
)

func brief(ev any) string {
	switch x := ev.(type) {
	case podmsg.Child:
		v := x.View
		return fmt.Sprintf("%s %v started=%v ready=%v settled=%v all=%v seq=%d cur=%s", v.Name, v.Stage, v.Started, v.Ready, v.Settled, v.RestartAll, v.Seq, short(v.Current))
	case podmsg.Desired, podmsg.StatusSeen, containermsg.Desired:
		return ""
	case podmsg.Look:
		return look(x)
	case podmsg.Done:
		s := fmt.Sprintf("%d %v %v %v", x.Gen, x.Op, x.Class, x.Sandbox.ID)
		if x.Look != nil {
			s += look(*x.Look)
		}
		return s
	case containermsg.Done:
		return fmt.Sprintf("%d %v %v %v %s", x.Gen, x.Op, x.ID, x.Class, short(x.Status))
	case containermsg.Look:
		s := ""
		for i := range x.Instances {
			s += short(&x.Instances[i]) + " "
		}
		return fmt.Sprintf("at %.3f seq %d: %s", x.At.Sub(epoch).Seconds(), x.Seq, s)
	}
	return fmt.Sprintf("%.100s", fmt.Sprintf("%+v", ev))
}

func look(l podmsg.Look) string {
	s := fmt.Sprintf(" at %.3f:", l.At.Sub(epoch).Seconds())
	for _, b := range l.Observed.Sandboxes {
		s += fmt.Sprintf(" %s/%d", b.ID, b.State)
	}
	for i := range l.Observed.Containers {
		s += " " + short(&l.Observed.Containers[i])
	}
	return s
}

func short(c *model.Container) string {
	if c == nil {
		return "-"
	}
	return fmt.Sprintf("%s/%s/%s/%d", c.Name, c.ID, [...]string{"created", "running", "exited", "unknown"}[c.State], c.ExitCode)
}

func briefs[T any](acts []T) string {
	var b strings.Builder
	for _, a := range acts {
		t := strings.TrimPrefix(strings.TrimPrefix(fmt.Sprintf("%T", a), "podplan."), "containerplan.")
		switch x := any(a).(type) {
		case podplan.Event, containerplan.Event:
			continue
		case podplan.Tell:
			fmt.Fprintf(&b, " %s!%T", x.Name, x.Event)
		default:
			fmt.Fprintf(&b, " %s%.60s", t, fmt.Sprintf("%+v", a))
		}
	}
	return b.String()
}

// checkPod holds for every step of the pod's plan.
func (a *agent) checkPod(before *podplan.End, deadline time.Time, acts []podplan.Action) {
	w, s := a.w, &a.state
	if before != nil && s.End == nil {
		w.fail("the ending turned back")
	}
	if before != nil && s.End.Deadline.After(deadline) {
		w.fail("the grace grew")
	}
	calls := 0
	for _, act := range acts {
		switch x := act.(type) {
		case podplan.RunSandbox:
			calls++
			if s.Admission != podplan.AdmissionGranted || s.End != nil || !s.Gate.SourcesReady {
				w.fail("a sandbox is made before admission or after the end began")
			}
			if !a.cgroup || s.Cgroup != podplan.Held {
				w.fail("a sandbox is made without its cgroup")
			}
		case podplan.Look, podplan.ReadSandbox, podplan.StopSandbox, podplan.RemoveSandbox, podplan.RemoveDirs:
			calls++
		case podplan.Tell:
			if a.children[x.Name] == nil && !spawned(acts, x.Name) {
				w.fail("%s is told something and has no actor", x.Name)
			}
		case podplan.Delete:
			if s.PubGen == 0 || s.AckedGen < s.PubGen {
				w.fail("the object is deleted before the last status is held")
			}
		}
	}
	if calls > 1 {
		w.fail("%d calls are begun at once", calls)
	}
	if calls == 1 && len(a.calls) > 0 {
		for _, c := range a.calls {
			if !c.answered {
				w.fail("a call is begun while another one is in flight")
			}
		}
	}
}

func spawned(acts []podplan.Action, name string) bool {
	for _, act := range acts {
		if x, ok := act.(podplan.Spawn); ok && x.Name == name {
			return true
		}
	}
	return false
}

// mayStop is checked when StopPodSandbox takes effect.
func (a *agent) mayStop(id model.SandboxID) {
	w := a.w
	b := w.rt.sandbox(id)
	running := w.rt.runningNames(id)
	if b.State != model.SandboxReady || len(running) == 0 {
		return
	}
	if a.state.End != nil && !w.now.Before(a.state.End.Deadline) {
		return
	}
	w.fail("sandbox %s is stopped while %v run in it", id, running)
}

func (a *agent) noneRuns(what string) {
	if r := a.w.rt.runningNames(""); len(r) > 0 {
		a.w.fail("%s while %v run", what, r)
	}
}

// checkGone holds at the final delete and at Finish.
func (a *agent) checkGone(when string) {
	w := a.w
	w.rt.sweepOrphans()
	switch {
	case len(w.rt.sandboxes) > 0:
		w.fail("%s: sandboxes are left", when)
	case len(w.rt.containers) > 0:
		w.fail("%s: containers are left", when)
	case a.volumes:
		w.fail("%s: volumes are left", when)
	case a.cgroup:
		w.fail("%s: the cgroup is left", when)
	}
}

// checkContainer holds for every step of a container's plan.
func (k *child) checkContainer(acts []containerplan.Action) {
	w, s := k.a.w, &k.state
	calls := 0
	for _, act := range acts {
		switch x := act.(type) {
		case containerplan.Create:
			calls++
			k.mayRun("created")
			k.inTurn()
			if s.Cur != nil && s.Cur.State != model.ContainerExited {
				w.fail("%s is created beside a live instance", k.name)
			}
		case containerplan.Start:
			calls++
			k.mayRun("started")
		case containerplan.Stop:
			calls++
			// One whose probe failed may be stopped at any time; the order is about being told to end.
			if s.Kind == model.KindSidecar && s.Revoke != nil && k.a.state.End != nil && w.now.Before(k.a.state.End.Deadline) {
				for _, name := range w.rt.runningNames("") {
					if !sidecar(w.first, name) {
						w.fail("sidecar %s is stopped before %s", k.name, name)
					}
				}
			}
		case containerplan.ReadStatus, containerplan.Find, containerplan.PostStart, containerplan.PreStop:
			calls++
		case containerplan.Remove:
			if c := w.rt.container(x.ID); c != nil && c.State == model.ContainerRunning {
				w.fail("%s removes a running instance", k.name)
			}
		}
	}
	if calls > 1 {
		w.fail("%s begins %d calls at once", k.name, calls)
	}
}

func (k *child) mayRun(what string) {
	w, s := k.a.w, &k.state
	switch {
	case s.Grant == nil:
		w.fail("%s is %s without a grant", k.name, what)
	case s.Revoke != nil:
		w.fail("%s is %s although it was told to stop", k.name, what)
	case k.a.state.Admission != podplan.AdmissionGranted:
		w.fail("%s is %s before admission", k.name, what)
	}
}

// inTurn: those before it in the order of start have done their part.
func (k *child) inTurn() {
	w := k.a.w
	if k.state.Kind == model.KindEphemeral {
		return
	}
	for i := range w.first.Spec.InitContainers {
		c := &w.first.Spec.InitContainers[i]
		if c.Name == k.name {
			return
		}
		if sidecar(w.first, c.Name) && !w.started[c.Name] || !sidecar(w.first, c.Name) && !w.succeeded[c.Name] {
			w.fail("%s is created before %s has done its part", k.name, c.Name)
		}
	}
}

func sidecar(pod *v1.Pod, name string) bool {
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		if c.Name == name {
			return c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways
		}
	}
	return false
}

func terminal(p v1.PodPhase) bool { return p == v1.PodSucceeded || p == v1.PodFailed }

// checkStatus holds for every status after the one before it.
func (a *agent) checkStatus(was, is *v1.PodStatus) {
	w := a.w
	if terminal(was.Phase) && is.Phase != was.Phase {
		w.fail("the phase %s became %s", was.Phase, is.Phase)
	}
	if was.Phase == v1.PodRunning && is.Phase == v1.PodPending {
		w.fail("Running became Pending")
	}
	if is.Phase == "" || is.Phase == v1.PodUnknown {
		w.fail("the phase is %q", is.Phase)
	}
	// An actor that was rebuilt may only now see what the one before it said last.
	if terminal(is.Phase) && !terminal(was.Phase) && !(a.state.Pod != nil && terminal(a.state.Pod.Status.Phase)) {
		a.noneRuns("the phase becomes " + string(is.Phase))
	}
	if was.StartTime != nil && !is.StartTime.Equal(was.StartTime) {
		w.fail("startTime moved")
	}
	a.checkList(was.InitContainerStatuses, is.InitContainerStatuses, w.first.Spec.InitContainers)
	a.checkList(was.ContainerStatuses, is.ContainerStatuses, w.first.Spec.Containers)
	a.checkList(was.EphemeralContainerStatuses, is.EphemeralContainerStatuses, nil)
	all := true
	for i := range is.ContainerStatuses {
		all = all && is.ContainerStatuses[i].Ready
	}
	for _, c := range is.Conditions {
		if c.Type == v1.PodReady && c.Status == v1.ConditionTrue && !all {
			w.fail("Ready although not every container is")
		}
	}
}

func (a *agent) checkList(was, is []v1.ContainerStatus, specs []v1.Container) {
	w := a.w
	for i := range is {
		st := &is[i]
		for j := range was {
			if was[j].Name == st.Name && was[j].RestartCount > st.RestartCount {
				w.fail("the restart count of %s fell from %d to %d", st.Name, was[j].RestartCount, st.RestartCount)
			}
		}
		id := model.ContainerID(strings.TrimPrefix(st.ContainerID, "sim://"))
		if st.Ready && !sidecar(w.first, st.Name) && st.State.Running == nil && specs != nil && !initName(w.first, st.Name) {
			w.fail("%s is Ready and does not run", st.Name)
		}
		for k := range specs {
			if specs[k].Name == st.Name && specs[k].ReadinessProbe != nil && st.Ready && !w.probed[id] {
				w.fail("%s is Ready before its readiness probe succeeded", st.Name)
			}
		}
		if t := st.State.Terminated; t != nil && t.ContainerID != "" && t.Reason != "ContainerStatusUnknown" {
			code, ended := w.exits[model.ContainerID(strings.TrimPrefix(t.ContainerID, "sim://"))]
			if ended && code != t.ExitCode {
				w.fail("%s is shown with exit code %d and had %d", st.Name, t.ExitCode, code)
			}
		}
		if t := st.State.Terminated; t != nil && t.ContainerID != "" {
			if c := w.rt.container(model.ContainerID(strings.TrimPrefix(t.ContainerID, "sim://"))); c != nil && c.State == model.ContainerRunning {
				w.fail("%s is shown as terminated and runs", st.Name)
			}
		}
		if r := st.State.Running; r != nil && r.StartedAt.IsZero() {
			w.fail("%s runs since never", st.Name)
		}
		n := 0
		for _, set := range []bool{st.State.Running != nil, st.State.Waiting != nil, st.State.Terminated != nil} {
			if set {
				n++
			}
		}
		if n != 1 {
			w.fail("%s has %d states", st.Name, n)
		}
	}
}

func initName(pod *v1.Pod, name string) bool {
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == name {
			return true
		}
	}
	return false
}
