package report

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/troupe-dev/troupe/bench/dist"
	"github.com/troupe-dev/troupe/bench/floor"
	"github.com/troupe-dev/troupe/bench/load"
)

func sample() *Report {
	phase := func(wall, p50, cpu float64, calls map[string]uint64) []load.Phase {
		return []load.Phase{
			{Phase: load.Fill, Pods: 100, WallMs: wall, Ready: &dist.Dist{N: 100, P50: p50, P99: wall}, Agent: &load.Usage{CPUSeconds: cpu, RSSMB: 77}, Calls: calls, PodWrites: 300, MeasuredMs: wall + 3000},
			{Phase: load.Idle, Pods: 100, MeasuredMs: 10000, Agent: &load.Usage{CPUSeconds: 0.05, Voluntary: 120, Involuntary: 30, RSSMB: 70}},
		}
	}
	return &Report{
		Machine: ThisMachine(), Setup: map[string]string{"pods": "100"},
		Bare: []floor.Result{{Width: 4, UpMs: 900, Up: dist.Dist{N: 50}}, {Width: 8, UpMs: 500, Up: dist.Dist{N: 50}}},
		Runs: []Run{
			{Agent: FloorName, Phases: phase(1000, 500, 0.1, nil)},
			{Agent: "troupe", Phases: phase(1500, 700, 1.5, map[string]uint64{"RunPodSandbox": 100, "StartContainer": 140})},
			{Agent: "troupe", Round: 1, Phases: phase(2500, 900, 2.5, map[string]uint64{"RunPodSandbox": 100, "StartContainer": 140})},
			{Agent: "kubelet", Error: "the agent: exit status 1"},
		},
	}
}

func TestText(t *testing.T) {
	var b strings.Builder
	if err := sample().Text(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`fill: 100 pods at once`,
		`floor +create→Ready +1\.00 +1\.00 +500 `,
		`troupe +create→Ready +2\.00 \(1\.50–2\.50\) +2\.00 +800 `, // medians of two rounds, and twice the floor
		`troupe +2\.00 +0\.00 +0\.00 +0 +0 +77 +0 +2\.4 +3\.0 `,
		`troupe called RunPodSandbox 100, StartContainer 140`,
		`idle with 100 pods, for 10\.00 s`,
		`troupe +0\.50 +15 `,
		`best: up 0\.50 s at width 8`,
		`kubelet, round 1, FAILED: the agent: exit status 1`,
	} {
		if !regexp.MustCompile(want).MatchString(b.String()) {
			t.Errorf("%s is missing in\n%s", want, b.String())
		}
	}
}

func TestJSONKeepsEverything(t *testing.T) {
	file := filepath.Join(t.TempDir(), "r.json")
	if err := sample().Write(file); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	if len(back.Runs) != 4 || back.Runs[2].Phases[0].Ready.P50 != 900 || back.Runs[1].Phases[0].Calls["StartContainer"] != 140 || back.Machine.CPUs == 0 {
		t.Errorf("%+v", back)
	}
	if sample().Write(filepath.Join(file, "below-a-file")) == nil {
		t.Error("an impossible path was written")
	}
}
