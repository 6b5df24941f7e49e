#!/bin/bash
# All tests; `make test` is this script. As root, a real containerd is built (once), started in a network namespace of its
# own that no route leads out of, and the tests run inside, none skipped. Otherwise what needs root is skipped and said so.
#
#   test/rig/test.sh [ARGUMENTS of go test]        e.g. test/rig/test.sh -run Sandbox ./cri/...
#
# The tests find the runtime by TROUPE_TEST_RUNTIME_ENDPOINT and an image with a shell by TROUPE_TEST_IMAGE;
# TROUPE_TEST_REQUIRE_RUNTIME=1 makes its absence a failure. The last lines are go test's own and the sum of packages.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd); top=$(cd "$here/../.." && pwd); cd "$top"
say() { printf '%s\n' "$*" >&2; }
all=; [ $# -gt 0 ] || { all=1; set -- ./...; }
root=; [ "$(id -u)" = 0 ] && root=1
"$here/need.sh" go gcc || exit 1
work= ns= pid= wrap=()

end() { # only what this script started
  set +e
  if [ -n "$pid" ]; then
    kill "$pid" 2>/dev/null
    for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    kill -9 "$pid" 2>/dev/null; wait "$pid" 2>/dev/null
  fi
  if [ -n "$work" ]; then
    for p in /proc/[0-9]*; do # shims of our socket
      tr '\0' ' ' <"$p/cmdline" 2>/dev/null | grep -q "containerd-shim.* -address $work/containerd.sock" && kill -9 "${p#/proc/}" 2>/dev/null
    done
    sleep 0.1
    awk -v w="$work/" 'index($2, w) == 1 {print $2}' /proc/mounts | sort -r | while read -r m; do umount -l "$m" 2>/dev/null; done
    rm -rf "$work"
  fi
  [ -n "$ns" ] && ip netns delete "$ns" 2>/dev/null
}
trap end EXIT
trap 'exit 130' INT TERM

runtime() {
  "$here/need.sh" pkg-config libseccomp flock iptables ip nsenter busybox-static || return 1
  local tools; tools=$("$here/runtime.sh") || return 1
  work=$(mktemp -d /tmp/troupe-test.XXXXXX)
  "$here/images.sh" "$tools/images" pause hello busybox || return 1
  ns=$(basename "$work")
  ip netns add "$ns" && nsenter --net="/run/netns/$ns" ip link set lo up || return 1
  mkdir -p "$work/cni"
  cat >"$work/cni/10-bridge.conflist" <<X
{"cniVersion":"1.0.0","name":"test","plugins":[{"type":"bridge","bridge":"cni0","isGateway":true,"hairpinMode":true,"ipam":{"type":"host-local","ranges":[[{"subnet":"10.86.0.0/16"}]],"routes":[{"dst":"0.0.0.0/0"}],"dataDir":"$work/ipam"}},{"type":"portmap","capabilities":{"portMappings":true}}]}
X
  local restrict=true; capsh --has-p=cap_sys_resource >/dev/null 2>&1 && restrict=false
  cat >"$work/containerd.toml" <<X
version = 3
root = "$work/root"
state = "$work/state"
disabled_plugins = ["io.containerd.nri.v1.nri"]
[grpc]
  address = "$work/containerd.sock"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "localhost/troupe-pause:1"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = $restrict
  netns_mounts_under_state_dir = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["$tools/cni"]
    conf_dir = "$work/cni"
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      BinaryName = "$tools/bin/runc"
X
  # nsenter and setsid exec, so $! is the server's own process
  PATH="$tools/bin:$PATH" nsenter --net="/run/netns/$ns" setsid "$tools/bin/containerd" -c "$work/containerd.toml" >"$work/containerd.log" 2>&1 &
  pid=$!
  for i in $(seq 300); do
    "$tools/bin/ctr" -a "$work/containerd.sock" version >/dev/null 2>&1 && break
    [ "$i" = 300 ] && { say "the container runtime does not answer:"; tail -3 "$work/containerd.log" >&2; return 1; }
    sleep 0.1
  done
  for i in pause hello busybox; do
    "$tools/bin/ctr" -a "$work/containerd.sock" -n k8s.io images import --local "$tools/images/$i.tar" >/dev/null || return 1
  done
  export TROUPE_RUNTIME_DIR=$tools TROUPE_TEST_IMAGES=$tools/images TROUPE_TEST_REQUIRE_RUNTIME=1
  export TROUPE_TEST_RUNTIME_ENDPOINT=unix://$work/containerd.sock TROUPE_TEST_IMAGE=localhost/troupe-busybox:1
  # go builds outside, the tests run inside
  wrap=(-exec "nsenter --net=/run/netns/$ns")
}

if [ -n "$root" ]; then
  runtime || { say "the tests need a container runtime: see above"; exit 1; }
else
  say "not root: tests with a real container runtime, cgroups and mounts are skipped"
fi
status=0
log=$(mktemp)
# What cgroups matter to, once more on a kernel with cgroup v2 alone, unless this machine has nothing else anyway: the
# cgroups tests, and pods in a real containerd there (its one CPU is too slow for the tests with many).
if [ -n "$root" ] && [ -n "$all" ] && [ -x test/cgroup2.sh ] && [ "$(stat -fc %T /sys/fs/cgroup)" != cgroup2fs ]; then
  say "on a kernel with cgroup v2:"
  CGO_ENABLED=0 go test -p 1 -exec "$top/test/cgroup2.sh" ./cgroups/... 2>&1 | tee "$log" || status=1
  TROUPE_TEST_REQUIRE_SWAP=1 MEMORY=3G CGO_ENABLED=0 go test -count=1 -exec "$top/test/cgroup2.sh" -run 'TestReal$/(comes_and_goes|limits|resize|swap)' -timeout 280s ./actors/root 2>&1 | tee -a "$log" || status=1
fi
CGO_ENABLED=1 go test -race -timeout 30m "${wrap[@]}" "$@" 2>&1 | tee -a "$log" || status=1
passed=$(grep -c '^ok' "$log"); failed=$(grep -c '^FAIL[[:space:]]' "$log"); rm -f "$log"
[ "$status" = 0 ] || [ "$failed" != 0 ] || failed=1
echo "packages: $passed passed, $failed failed"
exit $status
