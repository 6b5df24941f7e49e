package root

import (
	"os"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/actors/userns/usernsfile"
	"github.com/troupe-dev/troupe/cri/sim"
	"github.com/troupe-dev/troupe/messages/model"
)

func ownUsers(p *v1.Pod) {
	own := false
	p.Spec.HostUsers = &own
}

// Pods with user namespaces get ranges of their own, keep them over restarts of the agent, and give them back at their end.
func TestUserNamespaces(t *testing.T) {
	inWorld(t, sim.DefaultLatency(), func(w *world) {
		ids := func(uid model.UID) model.IDRange {
			r, err := usernsfile.Read(w.dir + "/pods/" + string(uid))
			if err != nil {
				w.t.Error(err)
			}
			return r
		}
		shared := w.fill(1, "shared", nil)
		if _, err := os.Stat(w.dir + "/pods/" + string(shared[0]) + "/" + usernsfile.Name); err == nil {
			t.Error("a pod that shares the node's users has a range")
		}
		first := w.fill(20, "own", ownUsers)
		had := map[model.IDRange]model.UID{}
		for _, uid := range first {
			r := ids(uid)
			if other, taken := had[r]; taken || r.Length != 65536 || r.First < 65536 {
				t.Errorf("pods %s and %s have the range %v", uid, other, r)
			}
			had[r] = uid
		}
		for _, uid := range first[10:] {
			w.remove(uid, nil)
		}
		w.until(time.Minute, "ten pods are gone", func() bool { return w.allGone(first[10:]) })
		w.restart()
		for _, uid := range w.fill(20, "later", ownUsers) {
			r := ids(uid)
			for _, older := range first[:10] {
				if ids(older) == r {
					t.Errorf("pod %s was given the range of %s, which runs", uid, older)
				}
			}
		}
		for _, uid := range first[:10] {
			if had[ids(uid)] != uid {
				t.Errorf("the range of %s has changed to %v", uid, ids(uid))
			}
		}
	})
}

// A pod whose object is gone has its ids for as long as something of it runs; then they are free.
func TestUserIDsOfForcedDeletion(t *testing.T) {
	inWorld(t, sim.DefaultLatency(), func(w *world) {
		uid := w.fill(1, "stubborn", func(p *v1.Pod) {
			ownUsers(p)
			program("term=ignore")(p)
		})[0]
		record := w.dir + "/pods/" + string(uid) + "/" + usernsfile.Name
		w.agent.Source.Remove(uid)
		time.Sleep(3 * time.Second)
		if _, running := w.sim.Count(); running == 0 {
			t.Fatal("it has ended already")
		}
		if _, err := os.Stat(record); err != nil {
			t.Errorf("while it runs: %v", err)
		}
		w.nothingLeft()
		if _, err := os.Stat(record); err == nil {
			t.Error("the record of its ids is left")
		}
	})
}
