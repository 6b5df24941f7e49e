// Package sim is a container runtime without processes: a full CRI v1 server whose sandboxes and containers are only
// state and timers. It behaves as containerd does in all that the agent depends on (cri/criconformance holds for both),
// takes as long for each call as it is told, and fails as it is scripted. It serves tests through a pipe, also inside
// testing/synctest bubbles, and the bench through a socket; the agent always reaches it through cri/remote.
//
// Nothing in it looks at all pods to answer for one: state is sharded by id and indexed by pod, so that thousands of
// pods do not slow each other down.
package sim

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/troupe-dev/troupe/cri/callstats"
)

// Config is what a simulated runtime is made of. The zero value answers at once and has no images.
type Config struct {
	// Seed decides ids and jitter. Equal seeds and equal calls give equal results.
	Seed uint64
	// Latency is how long each call takes; DefaultLatency has what a small node needs.
	Latency Latency
	// Images are present from the start.
	Images []string
	// AnyImage makes every image present without a pull.
	AnyImage bool
	// WriteLogs makes containers write their output to their log path in CRI's format.
	WriteLogs bool
	// EventReplay is how long events are kept while nobody listens; 0 means five minutes, as containerd does.
	EventReplay time.Duration
	// CgroupDriver is what RuntimeConfig says.
	CgroupDriver runtimeapi.CgroupDriver
	// Handlers are runtime handlers beside the default one.
	Handlers []string
	// FSPath is the mount point that ImageFsInfo names; "" means "/".
	FSPath string
}

// Runtime is a simulated runtime. Its methods are its remote control for tests and the bench; the CRI is served by
// Register, Serve and ServePipe. All of it is safe for concurrent use.
type Runtime struct {
	cfg        Config
	sandboxes  shards[*sandbox]
	containers shards[*container]
	pods       shards[*pod]
	names      shards[string] // reserved name → id
	images     images
	scripts    scripts
	events     eventQueue
	stats      *callstats.Stats
	conditions conditions
	execs      execs
	ids        atomic.Uint64
	ips        atomic.Uint32
}

// New makes a runtime that has nothing but its images.
func New(cfg Config) *Runtime {
	if cfg.EventReplay == 0 {
		cfg.EventReplay = 5 * time.Minute
	}
	if cfg.FSPath == "" {
		cfg.FSPath = "/"
	}
	r := &Runtime{cfg: cfg}
	r.sandboxes.init()
	r.containers.init()
	r.pods.init()
	r.names.init()
	r.images.init(cfg)
	r.events.replay = cfg.EventReplay
	r.stats = callstats.New()
	r.conditions.init()
	return r
}

// Register makes a gRPC server serve the runtime and image services.
func (r *Runtime) Register(s *grpc.Server) {
	runtimeapi.RegisterRuntimeServiceServer(s, service{r: r})
	runtimeapi.RegisterImageServiceServer(s, imageService{r: r})
}

// service is the CRI runtime service of a Runtime.
type service struct {
	runtimeapi.UnimplementedRuntimeServiceServer
	r *Runtime
}

// imageService is the CRI image service of a Runtime.
type imageService struct {
	runtimeapi.UnimplementedImageServiceServer
	r *Runtime
}

// newID makes the next id, of containerd's form.
func (r *Runtime) newID(name string) string {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], r.cfg.Seed)
	binary.LittleEndian.PutUint64(b[8:], r.ids.Add(1))
	sum := sha256.Sum256(append(b[:], name...))
	return hex.EncodeToString(sum[:])
}
