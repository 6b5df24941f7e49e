package nodestats

import (
	"os"
	"strconv"
	"strings"
	"time"

	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// defaultInterface is the one whose figures stand for all (kubelet: defaultNetworkInterfaceName).
const defaultInterface = "eth0"

// readNetwork reads a net/dev file of /proc; nil when the process is gone. The ends of other namespaces' links are left
// out, as cAdvisor does.
func readNetwork(file string, at time.Time) *statsapi.NetworkStats {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	n := &statsapi.NetworkStats{Time: stamp(at)}
	for line := range strings.Lines(string(b)) {
		name, counters, ok := strings.Cut(line, ":")
		name = strings.TrimSpace(name)
		fields := strings.Fields(counters)
		if !ok || len(fields) < 11 || name == "lo" || hasAnyPrefix(name, "veth", "docker", "nerdctl") {
			continue
		}
		// bytes packets errs drop fifo frame compressed multicast, first received, then sent
		i := statsapi.InterfaceStats{Name: name, RxBytes: counter(fields[0]), RxErrors: counter(fields[2]), TxBytes: counter(fields[8]), TxErrors: counter(fields[10])}
		if name == defaultInterface {
			n.InterfaceStats = i
		}
		n.Interfaces = append(n.Interfaces, i)
	}
	return n
}

func counter(text string) *uint64 {
	v, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return nil
	}
	return &v
}

func hasAnyPrefix(s string, prefixes ...string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}
