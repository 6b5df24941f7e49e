package stream

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/troupe-dev/troupe/server/logs"
)

// Run runs a command to its end and answers with its output, stdout first.
func (s *Server) Run(w http.ResponseWriter, r *http.Request) {
	pod, ok := s.pod(w, r)
	if !ok {
		return
	}
	t, err := s.running(r.Context(), pod, r.PathValue("container"))
	if err != nil {
		plain(w, http.StatusInternalServerError, err.Error())
		return
	}
	// Unlike exec, run takes the whole command line in one parameter.
	command := strings.Split(r.FormValue("cmd"), " ")
	res, err := s.Runtime.ExecSync(r.Context(), t.id, command, 0)
	if err == nil && res.ExitCode != 0 {
		err = fmt.Errorf("command '%s' exited with %d: %s", strings.Join(command, " "), res.ExitCode, res.Stderr)
	}
	if err != nil {
		plain(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(res.Stdout, res.Stderr...))
}

// Checkpoint has the runtime write a container's state to an archive and answers with the archive's path.
func (s *Server) Checkpoint(w http.ResponseWriter, r *http.Request) {
	pod, ok := s.pod(w, r)
	if !ok {
		return
	}
	container := r.PathValue("container")
	if !logs.HasContainer(pod, container) {
		plain(w, http.StatusNotFound, fmt.Sprintf("container %s does not exist", container))
		return
	}
	var timeout time.Duration
	if given := r.URL.Query()["timeout"]; len(given) > 0 {
		seconds, err := strconv.ParseInt(given[len(given)-1], 10, 64)
		if err != nil {
			plain(w, http.StatusNotFound, "cannot parse value of timeout parameter")
			return
		}
		timeout = time.Duration(seconds) * time.Second
	}
	t, err := s.running(r.Context(), pod, container)
	location := filepath.Join(s.CheckpointDir, fmt.Sprintf("checkpoint-%s_%s-%s-%s.tar",
		pod.Name, pod.Namespace, container, time.Now().Format(time.RFC3339)))
	if err == nil {
		err = s.Runtime.CheckpointContainer(r.Context(), t.id, location, timeout)
	}
	if err != nil {
		plain(w, http.StatusInternalServerError,
			fmt.Sprintf("checkpointing of %s/%s/%s failed (%v)", pod.Namespace, pod.Name, container, err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string][]string{"items": {location}})
}
