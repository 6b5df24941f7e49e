#!/bin/bash
# From a fresh clone to a pod that answers; `make run` is this script, and builds bin/troupe before it.
#
#   test/rig/run.sh [ARGUMENTS of troupe run]      e.g. test/rig/run.sh --detach
#
# Builds the container runtime and the demo image when they are missing, then runs examples/hello.yaml (or the -f of the
# arguments). Ctrl-C ends it and leaves nothing but what was built.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd); top=$(cd "$here/../.." && pwd); cd "$top"
if [ "$(id -u)" != 0 ]; then echo "missing: root (it makes network namespaces, mounts and cgroups): sudo make run" >&2; exit 1; fi
"$here/need.sh" go gcc pkg-config libseccomp flock iptables
runtime=$("$here/runtime.sh")
images=$runtime/images
"$here/images.sh" "$images" pause hello
[ -x bin/troupe ] || make --no-print-directory build
case " $* " in *" -f"* | *" --filename"*) files=() ;; *) files=(-f examples/hello.yaml) ;; esac
exec bin/troupe run "${files[@]}" --runtime-dir "$runtime" --image "$images/pause.tar" --image "$images/hello.tar" "$@"
