package sim

import (
	"strconv"
	"strings"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// AnnotationPrefix, followed by a container's name or by "all", is the pod annotation that tells the simulated runtime
// how containers run. Its value is a list of words:
//
//	run=300ms   run for so long (without it: until stopped)
//	exit=3      then exit with this code
//	oom         then be killed for lack of memory
//	term=ignore ignore the stop signal until the grace ends; term=0 exits with this code (default 143, at once)
//	missing     fail to start: there is no such program
//
// Several lists separated by "|" are for attempt 0, 1 and so on; the last one is for the rest.
const AnnotationPrefix = "sim.troupe.dev/"

// Exit codes and reasons as containerd reports them.
const (
	exitKilled     = 137
	exitTerminated = 143
	exitNotStarted = 128

	reasonOOM        = "OOMKilled"
	reasonStartError = "StartError"
	reasonCompleted  = "Completed"
	reasonError      = "Error"
)

// program is how a container runs.
type program struct {
	forever    bool
	run        time.Duration // how long, unless forever
	exit       int32
	oom        bool
	ignoreTerm bool
	termExit   int32
	missing    bool
	out        []line
}

// line is output at a time after the start.
type line struct {
	at     time.Duration
	stderr bool
	text   string
}

// programOf finds out how a container runs: from the pod's annotation, from a first word "sim" of its command line
// followed by the annotation's words, or by understanding its command as far as a very small shell goes (see shell).
// What it does not understand runs until it is stopped and honours the signal.
func programOf(config *runtimeapi.ContainerConfig, pod *runtimeapi.PodSandboxConfig) program {
	for _, key := range []string{config.GetMetadata().GetName(), "all"} {
		if v, ok := pod.GetAnnotations()[AnnotationPrefix+key]; ok {
			return parseAttempt(v, int(config.GetMetadata().GetAttempt()))
		}
	}
	words := append(append([]string(nil), config.GetCommand()...), config.GetArgs()...)
	if len(words) > 0 && words[0] == "sim" {
		return parseAttempt(strings.Join(words[1:], " "), int(config.GetMetadata().GetAttempt()))
	}
	return shell(words)
}

func parseAttempt(v string, attempt int) program {
	lists := strings.Split(v, "|")
	return parseWords(lists[min(attempt, len(lists)-1)])
}

func parseWords(v string) program {
	p := program{forever: true, termExit: exitTerminated}
	for _, w := range strings.Fields(v) {
		key, val, _ := strings.Cut(w, "=")
		switch key {
		case "run":
			if d, err := time.ParseDuration(val); err == nil {
				p.forever, p.run = false, d
			}
		case "exit":
			p.exit = code(val)
		case "term":
			if p.ignoreTerm = val == "ignore"; !p.ignoreTerm {
				p.termExit = code(val)
			}
		case "oom":
			p.oom = true
		case "missing":
			p.missing = true
		}
	}
	return p
}

func code(s string) int32 {
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil {
		return 2 // a shell's answer to "exit x"
	}
	return int32(n)
}
