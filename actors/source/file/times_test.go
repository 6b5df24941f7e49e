package file

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"github.com/troupe-dev/troupe/messages"
	"github.com/troupe-dev/troupe/messages/podsmsg"
)

// TestTimes: a pod was created when its manifest says so, else at no time, and was seen when this agent first read it under
// this UID, as with the kubelet.
func TestTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "pod.yaml")
		var last *v1.Pod
		s := New(Deps{Pods: messages.SinkFunc(func(m any) {
			if a, ok := m.(podsmsg.Assigned); ok {
				last = a.Pod
			}
		}), Logger: klog.Background()}, Config{Path: path, NodeName: "n"})
		const fixed = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, uid: fixed}\nspec: {containers: [{name: c, image: i1}]}\n"
		step := func(what, text string, created string, anew bool) {
			t.Helper()
			time.Sleep(1234567 * time.Microsecond)
			before := last
			if text == "" {
				os.Remove(path)
			} else {
				write(t, path, text)
			}
			s.Scan()
			if text == "" {
				return
			}
			if before == last {
				t.Fatalf("%s: nothing was told", what)
			}
			if got := last.CreationTimestamp.UTC().Format(time.RFC3339); got != created {
				t.Errorf("%s: created %s", what, got)
			}
			now, seen := time.Now().Format(time.RFC3339Nano), last.Annotations["kubernetes.io/config.seen"]
			if (seen == now) != anew || !anew && seen != before.Annotations["kubernetes.io/config.seen"] {
				t.Errorf("%s: seen %s, now is %s", what, seen, now)
			}
		}
		const never = "0001-01-01T00:00:00Z"
		step("new", fixed, never, true)
		step("changed", strings.Replace(fixed, "i1", "i2", 1), never, false)
		step("another pod", manifestText("a", "i"), never, true)
		step("and changed", manifestText("a", "j"), never, true)
		step("gone", "", "", false)
		step("back again", manifestText("a", "j"), never, true)
		step("with a time of its own", strings.Replace(fixed, "uid: fixed", `uid: other, creationTimestamp: "2020-01-02T03:04:05Z"`, 1), "2020-01-02T03:04:05Z", true)
	})
}
