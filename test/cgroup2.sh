#!/bin/bash
# Runs a command on a kernel that has nothing but cgroup v2, as root, with this machine's own files.
#
# Many machines still mount the controllers on cgroup v1, and a kernel cannot show both at once. Debian's
# user-mode-linux is a kernel that runs as an ordinary process; it boots here in a second or two with the host's root
# directory as its own, mounts cgroup2 and starts the command. Its controllers are cpu, io, memory and pids: no cpuset
# and no hugetlb, so code under test has to cope with missing ones. It has one CPU, a network of its own with nothing but
# lo, and what containers need: overlay (on TMPDIR, which is a tmpfs there), bridge, veth, and 256 MB of swap.
#
# usage: [MEMORY=1G] [SECONDS_MAX=300] test/cgroup2.sh COMMAND [ARGUMENT...]
# Of the environment, the command has PATH, HOME and TROUPE_*. The exit status is the command's; 125 when the kernel did
# not get that far.
set -euo pipefail

[ $# -gt 0 ] || { sed -n '2,13s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[ "$(id -u)" = 0 ] || { echo "cgroup2.sh: needs root" >&2; exit 2; }
if ! command -v linux.uml >/dev/null || ! PATH=$PATH:/sbin:/usr/sbin command -v modprobe >/dev/null; then
  echo "cgroup2.sh: installing user-mode-linux and kmod" >&2
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends user-mode-linux kmod; } >/dev/null ||
    { echo "cgroup2.sh: the packages user-mode-linux (Debian, Ubuntu universe) and kmod cannot be installed" >&2; exit 125; }
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The first process of that kernel. What the command prints goes to the console, its status to a file.
{
  echo '#!/bin/bash'
  printf 'export PATH=%q HOME=%q TMPDIR=/run/tmp\n' "$PATH:/sbin:/usr/sbin" "${HOME:-/root}"
  for v in "${!TROUPE_@}"; do printf 'export %s=%q\n' "$v" "${!v}"; done
  cat <<'BOOT'
mount -t proc none /proc
mount -t sysfs none /sys
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs none /run
mkdir -p "$TMPDIR" /run/modules/lib/modules
ln -s "/usr/lib/uml/modules/$(uname -r)" /run/modules/lib/modules/
for m in overlay bridge veth zram; do modprobe -d /run/modules "$m" 2>/dev/null || :; done
echo 256M >/sys/block/zram0/disksize && mkswap /dev/zram0 >/dev/null && swapon /dev/zram0
mount -t tmpfs none /dev/shm 2>/dev/null || :
ip link set lo up 2>/dev/null || :
# Leave the root cgroup to the kernel, as an init system does.
for c in $(cat /sys/fs/cgroup/cgroup.controllers); do
  echo "+$c" >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null || :
done
BOOT
  printf 'cd %q\n' "$PWD"
  printf '%q ' "$@"
  printf '\necho $? >%q\nsync\necho o >/proc/sysrq-trigger\nsleep 10\n' "$work/status"
} >"$work/boot"
chmod 0755 "$work" "$work/boot"

timeout "${SECONDS_MAX:-300}" linux.uml mem="${MEMORY:-1G}" \
  rootfstype=hostfs rootflags=/ rw init="$work/boot" \
  con=null con0=null,fd:1 quiet </dev/null 2>/dev/null |
  tr -d '\r' | grep -a -v -e 'reboot: ' -e '^SELinux:' -e '^mmapper' -e 'ubd device' || :

exit "$(cat "$work/status" 2>/dev/null || echo 125)"
