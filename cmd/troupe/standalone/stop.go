package standalone

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/troupe-dev/troupe/cri"
	"github.com/troupe-dev/troupe/cri/remote"
)

// Stop ends the run in a state folder and waits until everything is gone. A run that was killed is cleaned up: what is
// left of it is found and removed.
func Stop(ctx context.Context, l Layout, grace *int64, view *View) error {
	client := NewClient(l)
	asked := client.Stop(ctx, grace)
	if asked != nil && !errors.Is(asked, ErrNoRun) {
		return asked
	}
	for {
		lock, ok, err := TryLock(l)
		if err != nil {
			return err
		}
		if ok {
			defer lock.Release()
			return afterRun(ctx, l, asked == nil, view)
		}
		if rep, err := client.Report(ctx); err == nil {
			for _, p := range rep.Pods {
				view.Set(podKey(p), "ending")
			}
			if len(rep.Pods) == 0 {
				view.Set("run", "ending the runtime")
			}
		}
		if err := pause(ctx, refresh); err != nil {
			return err
		}
		if asked != nil { // it is starting: its socket comes any moment
			asked = client.Stop(ctx, grace)
			if asked != nil && !errors.Is(asked, ErrNoRun) {
				return asked
			}
		}
	}
}

// afterRun cleans up when nobody runs: normally there is nothing to do.
func afterRun(ctx context.Context, l Layout, ran bool, view *View) error {
	record, err := ReadRecord(l)
	switch {
	case errors.Is(err, ErrNoRun) && ran:
		view.Set("run", "everything has ended")
		return nil
	case err != nil:
		return err
	}
	view.Set("run", "it was killed: removing what it left")
	if err := CleanUp(ctx, l, record); err != nil {
		return err
	}
	view.Set("run", "everything has ended")
	return nil
}

// CleanUp removes what a killed run left. The caller holds the lock. A private runtime is started once more for it: only
// it knows its pods' networks.
func CleanUp(ctx context.Context, l Layout, record Record) error {
	var errs []error
	if record.Private {
		errs = append(errs, sweepWithRuntime(ctx, l, record), SweepHost(ctx, l, record.Cgroups, record.Before))
	} else {
		errs = append(errs, sweepOurs(ctx, record), record.Cgroups.Remove(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, f := range []string{l.ContainerdSocket(), l.ContainerdSocket() + ".ttrpc", l.ControlSocket(), l.InspectSocket()} {
		if err := removeIfThere(f); err != nil {
			return err
		}
	}
	return removeIfThere(l.RecordFile())
}

// cleanupWait is how long the runtime may take to answer for the cleaning.
const cleanupWait = 30 * time.Second

func sweepWithRuntime(ctx context.Context, l Layout, record Record) error {
	tools, err := FindRuntime(record.RuntimeDir)
	if err != nil {
		return err
	}
	p := PrivateRuntime{Layout: l, Tools: tools, Subnet: record.Subnet}
	launcher := p.Launcher()
	if _, err := launcher.Start(nil); err != nil {
		return err
	}
	err = sweepOurs(ctx, record)
	return errors.Join(err, launcher.Stop(ctx))
}

// sweepOurs removes the run's pods from its runtime: all that there are when the runtime is ours alone; of somebody
// else's, only those with UIDs that the run gave.
func sweepOurs(ctx context.Context, record Record) error {
	client, err := remote.Dial(ctx, record.Endpoint, remote.Options{})
	if err != nil {
		return err
	}
	defer client.Close()
	wait, cancel := context.WithTimeout(ctx, cleanupWait)
	defer cancel()
	if _, err := client.CheckVersion(wait); err != nil {
		return fmt.Errorf("clean up: %w", err)
	}
	if record.Private {
		return SweepRuntime(ctx, client)
	}
	for _, uid := range record.Pods {
		sandboxes, err := client.ListPodSandbox(ctx, cri.SandboxFilter{UID: uid})
		if err != nil {
			return err
		}
		for _, s := range sandboxes {
			if err := removeSandbox(ctx, client, s.ID); err != nil {
				return err
			}
		}
	}
	return nil
}
