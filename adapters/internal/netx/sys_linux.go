//go:build linux && (amd64 || arm64 || riscv64 || loong64)

package netx

import (
	"syscall"
	"unsafe"
)

// The calls below go around the scheduler's syscall accounting (RawSyscall:
// 17 % less CPU per message in the spike). That is right only for calls that
// cannot block, so each says MSG_DONTWAIT itself and does not rely on the mode
// of the descriptor. Elsewhere the portable twin serves.

const dontWait = syscall.MSG_DONTWAIT | syscall.MSG_NOSIGNAL

// sysVec is the memory a gathering write needs. It lives on the heap, in its
// refList, because the kernel is given its address.
type sysVec struct {
	iov []syscall.Iovec
	hdr syscall.Msghdr
}

// iovMax is the kernel's bound on the parts of one gathering write.
const iovMax = 1024

// sysRead reads into p, which is not empty. EAGAIN: nothing is there.
func sysRead(fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd,
			uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), syscall.MSG_DONTWAIT, 0, 0)
		if errno == syscall.EINTR {
			continue
		} else if errno != 0 {
			return 0, errno
		}
		return int(n), 0
	}
}

// sysWrite writes as much of p, which is not empty, as the socket takes now.
// EAGAIN: nothing.
func sysWrite(fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, fd,
			uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), dontWait, 0, 0)
		if errno == syscall.EINTR {
			continue
		} else if errno != 0 {
			return 0, errno
		}
		return int(n), 0
	}
}

// sysWritev writes as much of segs as the socket takes now, but at most max
// bytes. No segment is empty.
func sysWritev(fd uintptr, v *sysVec, segs [][]byte, max int) (int, syscall.Errno) {
	v.iov = v.iov[:0]
	for _, s := range segs {
		if max == 0 || len(v.iov) == iovMax {
			break
		}
		if len(s) > max {
			s = s[:max]
		}
		max -= len(s)
		i := syscall.Iovec{Base: unsafe.SliceData(s)}
		i.SetLen(len(s))
		v.iov = append(v.iov, i)
	}
	v.hdr.Iov = unsafe.SliceData(v.iov)
	v.hdr.Iovlen = uint64(len(v.iov))
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&v.hdr)), dontWait)
		if errno == syscall.EINTR {
			continue
		}
		clear(v.iov) // The references end with the write.
		if errno != 0 {
			return 0, errno
		}
		return int(n), 0
	}
}
