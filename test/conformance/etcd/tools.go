//go:build tools

// Package etcd pins the etcd server that stands behind the API server of the conformance rig. It has a module of its
// own because its client library is newer than the one that Kubernetes builds with.
package etcd

import _ "go.etcd.io/etcd/server/v3"
