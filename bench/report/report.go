// Package report holds what a benchmark measured, as JSON for machines and as tables for people.
package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/troupe-dev/troupe/bench/floor"
	"github.com/troupe-dev/troupe/bench/load"
)

// FloorName is the name of the agent that the others are compared with.
const FloorName = "floor"

// Report is one benchmark: some agents under the same load, one after the other, perhaps several times.
type Report struct {
	When    time.Time `json:"when"`
	Version string    `json:"version"`
	Machine Machine   `json:"machine"`
	// Setup is what was asked for: pods, latencies, flags.
	Setup map[string]string `json:"setup"`
	Runs  []Run             `json:"runs,omitempty"`
	// Bare are the CRI calls without an agent, by width.
	Bare []floor.Result `json:"bare,omitempty"`
}

// Run is one agent's turn.
type Run struct {
	Agent string `json:"agent"`
	Round int    `json:"round"`
	// NodeReadyMs is from the agent's start until it took pods: the node Ready in the API, or the embedded agent's word.
	NodeReadyMs float64      `json:"nodeReadyMs"`
	Phases      []load.Phase `json:"phases"`
	Error       string       `json:"error,omitempty"`
}

// Machine is what the figures depend on besides the code.
type Machine struct {
	CPUs     int     `json:"cpus"`
	Model    string  `json:"cpuModel"`
	MemoryGB float64 `json:"memoryGB"`
	Kernel   string  `json:"kernel"`
	// Load is the load average of the last minute before the benchmark: others that share the machine.
	Load float64 `json:"load1"`
}

// ThisMachine reads the facts of the machine it runs on; what cannot be read stays zero.
func ThisMachine() Machine {
	m := Machine{CPUs: runtime.NumCPU()}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = string(bytes.TrimRight(u.Release[:], "\x00"))
	}
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) == nil {
		m.MemoryGB = float64(s.Totalram) * float64(s.Unit) / 1e9
	}
	if raw, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(raw)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				m.Model = strings.TrimSpace(value)
				break
			}
		}
	}
	if raw, err := os.ReadFile("/proc/loadavg"); err == nil {
		first, _, _ := strings.Cut(string(raw), " ")
		m.Load, _ = strconv.ParseFloat(first, 64)
	}
	return m
}

// Write writes the report as JSON.
func (r *Report) Write(file string) error {
	raw, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = os.WriteFile(file, append(raw, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
