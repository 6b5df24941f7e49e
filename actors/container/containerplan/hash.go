package containerplan

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strconv"

	v1 "k8s.io/api/core/v1"
	"k8s.io/utils/dump"

	"github.com/troupe-dev/troupe/messages/model"
)

// Annotations of a CRI container that carry the kubelet's durable facts; names and formats are the kubelet's own
// (docs/architecture.md, "Restart and adoption"), so that a node changes over in both directions.
const (
	AnnotationHash         = "io.kubernetes.container.hash"
	AnnotationRestartCount = "io.kubernetes.container.restartCount"
)

// Hash is the kubelet's hash of what makes a container another one: its name and image. It is FNV-1a over the dump of
// the JSON bytes, printed in hex.
func Hash(c *v1.Container) string {
	picked, err := json.Marshal(map[string]string{"name": c.Name, "image": c.Image})
	if err != nil {
		return "" // strings always marshal
	}
	h := fnv.New32a()
	_, _ = fmt.Fprintf(h, "%v", dump.ForHash(picked))
	return strconv.FormatUint(uint64(h.Sum32()), 16)
}

// RestartCountOf reads the restart count that an instance was created with.
func RestartCountOf(c *model.Container) int32 {
	if n, err := strconv.ParseInt(c.Annotations[AnnotationRestartCount], 10, 32); err == nil {
		return int32(n)
	}
	return int32(c.Attempt)
}

func itoa(n int32) string { return strconv.FormatInt(int64(n), 10) }
