// Package model is the pure model of what a node runs: identifiers, units and what was observed in the runtime.
// Values are immutable once they have been sent: receivers share them.
package model

import "k8s.io/apimachinery/pkg/types"

// UID identifies a pod across its whole life; the API server (or the file source) chose it.
type UID = types.UID

// SandboxID is the runtime's identifier of a pod sandbox.
type SandboxID string

// ContainerID is the runtime's identifier of a container, without the "containerd://" prefix that the API shows.
type ContainerID string

// Incarnation tells apart the lives of one UID: a static pod's UID comes back after its end.
type Incarnation uint64

// Generation numbers the asynchronous work of one actor; a result with an old generation is stale.
type Generation uint64

// MilliCPU is CPU in thousandths of a core.
type MilliCPU int64

// Bytes is a size in bytes.
type Bytes int64
