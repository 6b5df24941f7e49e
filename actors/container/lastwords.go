package container

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/troupe-dev/troupe/messages/model"
)

// Limits of the kubelet's termination messages (container/runtime.go: MaxContainerTerminationMessageLength,
// …LogLength, …LogLines; the pod shares 12 KiB).
const (
	maxMessage      = 4096
	maxPodMessages  = 12 << 10
	maxLogMessage   = 2048
	maxLogLines     = 80
	reasonCannotRun = "ContainerCannotRun"
)

// message adds the container's last words to the status of an ended instance.
func message(pod *v1.Pod, spec *v1.Container, c *model.Container) {
	path, policy := c.Annotations["io.kubernetes.container.terminationMessagePath"], v1.TerminationMessagePolicy(c.Annotations["io.kubernetes.container.terminationMessagePolicy"])
	if path == "" && spec != nil && c.Annotations["io.kubernetes.container.hash"] == "" {
		path, policy = spec.TerminationMessagePath, spec.TerminationMessagePolicy
	}
	fallback := policy == v1.TerminationMessageFallbackToLogsOnError && c.ExitCode != 0 && c.Reason != reasonCannotRun
	limit := maxMessage
	if n := len(pod.Spec.Containers) + len(pod.Spec.InitContainers); n > 0 {
		limit = min(limit, maxPodMessages/n)
	}
	words := ""
	for _, m := range c.Mounts {
		if path != "" && m.ContainerPath == absolute(path) {
			data, err := lastBytes(m.HostPath, int64(limit))
			switch {
			case err == nil:
				words = string(data)
			case !os.IsNotExist(err):
				words, fallback = fmt.Sprintf("Error on reading termination log %s: %v", m.HostPath, err), false
			}
			break
		}
	}
	if words == "" && fallback && c.LogPath != "" {
		words = lastLines(c.LogPath, min(limit, maxLogMessage))
	}
	if words == "" {
		return
	}
	if c.Message != "" {
		c.Message += ": "
	}
	c.Message += words
}

// lastBytes reads at most n bytes from the end of a file.
func lastBytes(file string, n int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Size() > n {
		if _, err := f.Seek(-n, io.SeekEnd); err != nil {
			return nil, err
		}
	}
	return io.ReadAll(io.LimitReader(f, n))
}

// lastLines reads the end of a CRI log: at most maxLogLines lines and limit bytes of content.
func lastLines(file string, limit int) string {
	// Every line carries a time stamp, a stream and a tag of together some 50 bytes.
	raw, err := lastBytes(file, int64(limit)+maxLogLines*64+64<<10)
	if err != nil {
		return fmt.Sprintf("Error on reading termination message from logs: %v", err)
	}
	var lines []string
	partial := ""
	s := bufio.NewScanner(bytes.NewReader(raw))
	s.Buffer(make([]byte, 64<<10), 1<<20)
	for s.Scan() {
		// time stream tag content
		f := strings.SplitN(s.Text(), " ", 4)
		if len(f) < 4 {
			continue
		}
		partial += f[3]
		if f[2] == "P" {
			continue
		}
		lines = append(lines, partial+"\n")
		partial = ""
	}
	if partial != "" {
		lines = append(lines, partial)
	}
	if len(lines) > maxLogLines {
		lines = lines[len(lines)-maxLogLines:]
	}
	text := strings.Join(lines, "")
	if len(text) > limit {
		text = text[len(text)-limit:]
	}
	return text
}

// LogLink is the path of the flat link to a container's log that log collectors follow:
// <pod>_<namespace>_<container>-<id>.log, cut to what a file's name may be long.
func LogLink(dir string, pod *v1.Pod, container string, id model.ContainerID) string {
	const suffix = ".log"
	name := pod.Name + "_" + pod.Namespace + "_" + container + "-" + string(id)
	if len(name) > 255-len(suffix) {
		name = name[:255-len(suffix)]
	}
	return filepath.Join(dir, name+suffix)
}

// linkLog makes the flat link to a container's log.
func linkLog(cfg Config, pod *v1.Pod, c *model.Container) {
	if cfg.LinksDir == "" || c == nil || c.LogPath == "" {
		return
	}
	link := LogLink(cfg.LinksDir, pod, c.Name, c.ID)
	if err := os.Symlink(c.LogPath, link); err != nil && os.IsNotExist(err) {
		if os.MkdirAll(cfg.LinksDir, 0o755) == nil {
			_ = os.Symlink(c.LogPath, link)
		}
	}
}
