#!/bin/bash
# Makes the images that `make run` and `make test` need, as docker archives, from what is on this machine: no registry.
#
#   test/rig/images.sh FOLDER [pause] [hello] [busybox]
#
# pause: the sandbox process; hello: examples/hello; busybox: Debian's static busybox with its applets. An archive is
# made again only when its inputs changed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd); top=$(cd "$here/../.." && pwd)
out=$1; shift; mkdir -p "$out"
want=${*:-pause hello busybox}
say() { printf '%s\n' "$*" >&2; }
exec 9>"$out/.lock"; flock 9
cd "$top"
fresh() { # archive, inputs: is the archive newer than all of them?
  local a=$1; shift; [ -f "$a" ] && [ -z "$(find "$@" -newer "$a" -print -quit 2>/dev/null)" ]
}
pack() { CGO_ENABLED=0 go run ./test/rig/pack "$@"; }
for i in $want; do
  case $i in
  pause)
    fresh "$out/pause.tar" "$here/pause" "$here/pack" "$here/images.sh" && continue
    "$here/need.sh" gcc; say "packing the image localhost/troupe-pause:1"
    gcc -Os -static -s -o "$out/.pause" "$here/pause/pause.c"
    pack -o "$out/pause.tar" -tag localhost/troupe-pause:1 -user 65535:65535 -entrypoint /pause -file "$out/.pause:/pause" ;;
  hello)
    fresh "$out/hello.tar" "$top/examples/hello" "$here/pack" "$here/images.sh" && continue
    say "packing the image localhost/troupe-hello:1"
    CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$out/.hello" ./examples/hello
    pack -o "$out/hello.tar" -tag localhost/troupe-hello:1 -user 65532:65532 -entrypoint /hello -file "$out/.hello:/hello" -dir /tmp ;;
  busybox)
    fresh "$out/busybox.tar" /bin/busybox "$here/pack" "$here/images.sh" && continue
    "$here/need.sh" busybox-static; say "packing the image localhost/troupe-busybox:1"
    args=(); for a in $(/bin/busybox --list); do [ "$a" = busybox ] || args+=(-link "/bin/busybox:/bin/$a"); done
    pack -o "$out/busybox.tar" -tag localhost/troupe-busybox:1 -cmd sh -file "$(readlink -f /bin/busybox):/bin/busybox" "${args[@]}" -dir /tmp -dir /root -dir /etc \
      -text '/etc/passwd=root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n' -text '/etc/group=root:x:0:\nnogroup:x:65534:\n' ;;
  *) say "unknown image $i"; exit 2 ;;
  esac
done
