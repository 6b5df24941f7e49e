package standalone

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// siocBrDelBr deletes a bridge by name (linux/sockios.h).
const siocBrDelBr = 0x89a1

func bridgeDelete(fd int, name string) error {
	var buf [unix.IFNAMSIZ]byte
	copy(buf[:len(buf)-1], name)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), siocBrDelBr, uintptr(unsafe.Pointer(&buf[0]))); errno != 0 {
		return fmt.Errorf("delete bridge %s: %w", name, errno)
	}
	return nil
}
