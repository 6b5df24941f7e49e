#!/bin/bash
# Builds the container runtime that Troupe is run and tested with, from the Go modules pinned in test/rig/runtime:
# containerd and its runc shim, runc (with seccomp), the CNI plugins bridge, loopback, host-local and portmap, and ctr.
#
#   test/rig/runtime.sh            builds what is missing; the last line of stdout is the folder (bin/ and cni/ inside)
#   test/rig/runtime.sh --path     prints the folder without building
#
# The folder is ${XDG_CACHE_HOME:-~/.cache}/troupe/runtime-<hash of the pins>, or $TROUPE_RUNTIME_DIR. It may be run any
# number of times, also side by side: one builds, the others wait. Progress goes to stderr.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd); mod=$here/runtime
say() { printf '%s\n' "$*" >&2; }
version=$(sed -n 's#^[[:space:]]*github.com/containerd/containerd/v2 v##p' "$mod/go.mod" | head -1)
pins=$(cat "$mod/go.sum" "$mod/go.mod" | sha256sum | cut -c1-8)
out=${TROUPE_RUNTIME_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/troupe/runtime-$version-$pins}
[ "${1:-}" = --path ] && { echo "$out"; exit 0; }
[ -e "$out/.complete" ] && { echo "$out"; exit 0; }

"$here/need.sh" go gcc pkg-config libseccomp flock

mkdir -p "$out/bin" "$out/cni"
exec 9>"$out/.lock"
flock -n 9 || { say "another build of the runtime is running: waiting for it"; flock 9; }
[ -e "$out/.complete" ] && { echo "$out"; exit 0; }

say "building the container runtime (containerd $version) into $out: a few minutes, once"
cd "$mod"
started=$SECONDS step=0 steps=8
# A build goes to a temporary name first: an interrupted one leaves nothing that looks finished.
build() { # folder, package, extra arguments
  local dir=$1 pkg=$2 name; shift 2; name=$(basename "$pkg"); step=$((step + 1))
  if [ ! -x "$out/$dir/$name" ]; then
    say "  [$step/$steps] $name"
    go build -mod=readonly "$@" -o "$out/$dir/.$name.part" "$pkg" >&2 || { say "could not build $name (see above)"; exit 1; }
    mv "$out/$dir/.$name.part" "$out/$dir/$name"
  fi
}
export CGO_ENABLED=0
build bin github.com/containerd/containerd/v2/cmd/containerd
build bin github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2
build bin github.com/containerd/containerd/v2/cmd/ctr
for p in main/bridge main/loopback ipam/host-local meta/portmap; do build cni github.com/containernetworking/plugins/plugins/$p; done
CGO_ENABLED=1 build bin github.com/opencontainers/runc -tags seccomp
touch "$out/.complete"
say "the runtime is built ($((SECONDS - started)) s)"
echo "$out"
