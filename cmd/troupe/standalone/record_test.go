package standalone

import (
	"errors"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func layout(t *testing.T) Layout {
	t.Helper()
	l, err := NewLayout(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestOnlyOneRunInAStateFolder(t *testing.T) {
	l := layout(t)
	first, ok, err := TryLock(l)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if _, ok, err := TryLock(l); ok || err != nil {
		t.Errorf("second lock = %v %v, want a quiet no", ok, err)
	}
	first.Release()
	if again, ok, err := TryLock(l); !ok || err != nil {
		t.Errorf("lock after the release = %v %v", ok, err)
	} else {
		again.Release()
	}
}

func TestAKilledRunIsContinued(t *testing.T) {
	l := layout(t)
	if _, err := ReadRecord(l); !errors.Is(err, ErrNoRun) {
		t.Errorf("read of nothing = %v", err)
	}
	first, continued, err := Continue(l, Record{Endpoint: "unix:///a", Cgroups: CgroupRoot{Path: "/t"}, Before: Filter{Chains: []string{"iptables CNI-X"}}})
	if err != nil || continued || first.ID == "" {
		t.Fatal(first, continued, err)
	}
	if err := first.Write(l); err != nil {
		t.Fatal(err)
	}
	again, continued, err := Continue(l, Record{Endpoint: "unix:///a", Cgroups: CgroupRoot{Path: "/t"}, PID: 7})
	if err != nil || !continued || again.ID != first.ID || again.PID != 7 || !slices.Equal(again.Before.Chains, first.Before.Chains) {
		t.Errorf("continued = %+v %v %v", again, continued, err)
	}
	if _, _, err := Continue(l, Record{Endpoint: "unix:///b", Cgroups: CgroupRoot{Path: "/t"}}); err == nil || !strings.Contains(err.Error(), "troupe stop") {
		t.Errorf("another runtime = %v, want a refusal that names `troupe stop`", err)
	}
}

func TestPodUIDIsThePodsInTheRun(t *testing.T) {
	pod := func(name, image string) *v1.Pod {
		return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1.PodSpec{Containers: []v1.Container{{Name: "c", Image: image}}}}
	}
	base := podUID("run", pod("a", "i"))
	if base != podUID("run", pod("a", "i")) {
		t.Error("the UID is not stable")
	}
	for _, other := range []string{string(podUID("run2", pod("a", "i"))), string(podUID("run", pod("b", "i"))), string(podUID("run", pod("a", "j")))} {
		if other == string(base) {
			t.Error("another run, name or spec has the same UID")
		}
	}
	if len(base) != 36 || base[14] != '8' {
		t.Errorf("UID = %s is no version 8 UUID", base)
	}
}

func TestSplitRule(t *testing.T) {
	got := splitRule(`-A PREROUTING -m comment --comment "a b" -j X` + "\n")
	if want := []string{"-A", "PREROUTING", "-m", "comment", "--comment", "a b", "-j", "X"}; !slices.Equal(got, want) {
		t.Errorf("words = %q, want %q", got, want)
	}
}

func TestLongStateFolderIsRefused(t *testing.T) {
	if _, err := NewLayout(t.TempDir() + "/" + strings.Repeat("x", 100)); err == nil || !strings.Contains(err.Error(), "shorter") {
		t.Errorf("err = %v", err)
	}
}
