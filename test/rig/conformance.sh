#!/bin/bash
# Kubernetes' own node tests against the agent in bin/, or against the stock kubelet; `make conformance` is this script.
#
#   test/rig/conformance.sh [ARGUMENTS]                     the suite conformance, against Troupe
#   test/rig/conformance.sh --agent kubelet                 the same against the stock kubelet
#   test/rig/conformance.sh --suite serial|ci               other suites; --focus PATTERN for any specs
#   test/rig/conformance.sh up                              only the node, until Ctrl-C
#   test/rig/conformance.sh exec kubectl get pods -A        a look into the node of a run
#   test/rig/conformance.sh build|page                      build what a run needs; write docs/conformance.md anew
#
# The first call builds the control plane, the suite and the images, into a cache. A run that was cut off goes on where
# it was. --help has all arguments. The exit status is 0 when every spec passed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd); top=$(cd "$here/../.." && pwd)
command=run
case ${1:-} in up | exec | build | page | run) command=$1; shift ;; esac
if [ "$(id -u)" != 0 ] && [ "$command" != page ]; then echo "missing: root (it makes namespaces, mounts and cgroups): sudo make conformance" >&2; exit 1; fi
"$here/need.sh" go gcc make bzip2 pkg-config libseccomp flock iptables ip nsenter
rig=${XDG_CACHE_HOME:-$HOME/.cache}/troupe/conformance-rig
mkdir -p "$(dirname "$rig")"
(cd "$top/test/conformance" && CGO_ENABLED=0 go build -o "$rig" ./cmd/rig)
cd "$top"
exec "$rig" "$command" "$@"
