package pods

import "testing"

func TestMirrorUIDFindsItsPod(t *testing.T) {
	table := NewTable()
	table.open("a", 1)
	table.open("b", 2)
	table.Publish(manifest("a").Pod, 1)
	table.Mirrored("m", "ns", "web-n")
	if pod, ok := table.ByUID("m"); !ok || pod.UID != "a" {
		t.Errorf("%v %v", pod, ok)
	}
	table.Forget("a")
	if _, ok := table.ByUID("m"); ok {
		t.Error("found a pod that is gone")
	}
	table.Publish(manifest("b").Pod, 2)
	table.Unmirrored("m")
	if _, ok := table.ByUID("m"); ok {
		t.Error("found by a mirror that is gone")
	}
}

// Only the life that /pods made writes to a pod's row: not one that was replaced, nor one that has ended.
func TestRowBelongsToOneLife(t *testing.T) {
	table, pod := NewTable(), manifest("a").Pod
	shown := func() bool { _, ok := table.ByUID("a"); return ok }
	table.Publish(pod, 1)
	if shown() {
		t.Error("a pod that was never made is shown")
	}
	table.open("a", 2)
	table.Publish(pod, 1)
	if shown() {
		t.Error("a replaced life is shown")
	}
	table.Publish(pod, 2)
	if !shown() {
		t.Error("the pod is not shown")
	}
	table.Forget("a")
	table.Publish(pod, 2)
	if shown() || len(table.List()) != 0 {
		t.Error("an ended life is shown")
	}
}
