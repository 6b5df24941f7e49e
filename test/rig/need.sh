#!/bin/bash
# Makes sure that tools are there: installs Debian packages when one is missing and we are root, and otherwise says in
# one line what to install.
#
#   test/rig/need.sh go gcc pkg-config libseccomp flock iptables ip nsenter busybox-static
set -euo pipefail
say() { printf '%s\n' "$*" >&2; }
have() {
  case $1 in
  libseccomp) pkg-config --exists libseccomp 2>/dev/null ;;
  busybox-static) [ -x /bin/busybox ] && ! ldd /bin/busybox >/dev/null 2>&1 ;;
  *) PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null 2>&1 ;;
  esac
}
package() {
  case $1 in
  gcc) echo gcc libc6-dev ;; libseccomp) echo libseccomp-dev pkg-config ;; flock | nsenter) echo util-linux ;; ip) echo iproute2 ;;
  *) echo "$1" ;;
  esac
}
missing=()
for t in "$@"; do
  have "$t" && continue
  if [ "$t" = go ]; then say "missing: Go 1.26 or newer (https://go.dev/dl), with 'go' in PATH"; exit 1; fi
  for p in $(package "$t"); do case " ${missing[*]-} " in *" $p "*) ;; *) missing+=("$p") ;; esac; done
done
case " $* " in *" go "*)
  v=$(go env GOVERSION); v=${v#go}
  [ "$(printf '%s\n1.26\n' "$v" | sort -V | head -1)" = 1.26 ] || { say "missing: Go 1.26 or newer (found $v)"; exit 1; } ;;
esac
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" != 0 ]; then say "missing: ${missing[*]} (install with: sudo apt-get install ${missing[*]})"; exit 1; fi
command -v apt-get >/dev/null || { say "missing: ${missing[*]} (Debian package names; no apt-get here to install them)"; exit 1; }
say "installing ${missing[*]}"
exec 8>/tmp/.troupe-need.lock; flock 8 2>/dev/null || true
install() { DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -q --no-install-recommends "${missing[@]}" >/dev/null 2>&1; }
install || { apt-get -o DPkg::Lock::Timeout=300 update -q >/dev/null 2>&1; install; } || { say "missing: ${missing[*]} (apt-get could not install them)"; exit 1; }
for t in "$@"; do have "$t" || { say "missing: $t (installed its package, still not found)"; exit 1; }; done
