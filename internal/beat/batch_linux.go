package beat

import (
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batchSize is how many datagrams one system call takes or sends.
const batchSize = 256

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [unsafe.Sizeof(uintptr(0)) - 4]byte
}

// batch reads and answers datagrams many at a time without allocating. The batch
// calls of golang.org/x/net allocate an address for each datagram read; here the
// raw address is kept and handed back for the answer.
type batch struct {
	raw     syscall.RawConn
	in, out [batchSize]mmsghdr
	iovIn   [batchSize]unix.Iovec
	iovOut  [batchSize]unix.Iovec
	names   [batchSize]unix.RawSockaddrInet6
	bufs    [batchSize][MaxDatagram + 1]byte
	acks    [batchSize][minDatagram + ackFixed]byte
	queued  int
	sent    int
	n       int
	errno   syscall.Errno
	recvFn  func(uintptr) bool
	sendFn  func(uintptr) bool
}

func newBatch(c *net.UDPConn) (*batch, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	b := &batch{raw: raw}
	for i := range b.in {
		b.iovIn[i].Base = &b.bufs[i][0]
		b.iovIn[i].SetLen(len(b.bufs[i]))
		b.in[i].hdr.Iov = &b.iovIn[i]
		b.in[i].hdr.SetIovlen(1)
		b.in[i].hdr.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		b.iovOut[i].Base = &b.acks[i][0]
		b.out[i].hdr.Iov = &b.iovOut[i]
		b.out[i].hdr.SetIovlen(1)
	}
	b.recvFn, b.sendFn = b.recvmmsg, b.sendmmsg
	return b, nil
}

// recv waits for datagrams and returns how many came.
func (b *batch) recv() (int, error) {
	if err := b.raw.Read(b.recvFn); err != nil {
		return 0, err
	}
	if b.errno != 0 {
		return 0, os.NewSyscallError("recvmmsg", b.errno)
	}
	return b.n, nil
}

// recvmmsg takes what is there. Neither it nor sendmmsg waits, so both are raw calls:
// the runtime is not told of them. Else it would take them for blocking calls, because
// a batch lasts longer than its patience of 20 µs, and have another thread woken for
// nearly each.
func (b *batch) recvmmsg(fd uintptr) bool {
	for i := range b.in {
		b.in[i].hdr.Namelen = unix.SizeofSockaddrInet6
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd,
		uintptr(unsafe.Pointer(&b.in)), batchSize, unix.MSG_DONTWAIT, 0, 0)
	b.n, b.errno = int(n), errno
	return errno != unix.EAGAIN && errno != unix.EINTR
}

// datagram returns the i-th datagram of the last recv.
func (b *batch) datagram(i int) []byte { return b.bufs[i][:b.in[i].len] }

// ackBuf returns empty memory for the next ack.
func (b *batch) ackBuf() []byte { return b.acks[b.queued][:0] }

// queue answers the i-th datagram with ack, which lies in the last ackBuf.
func (b *batch) queue(i int, ack []byte) {
	o := &b.out[b.queued]
	b.iovOut[b.queued].SetLen(len(ack))
	o.hdr.Name = b.in[i].hdr.Name
	o.hdr.Namelen = b.in[i].hdr.Namelen
	b.queued++
}

// flush sends the queued acks and returns how many could not be sent. It never
// waits: an ack is lost like any datagram, and the agent's next beat asks again.
func (b *batch) flush() (lost int, err error) {
	b.sent = 0
	for b.sent < b.queued {
		if err := b.raw.Write(b.sendFn); err != nil {
			return b.queued - b.sent, err
		}
		if b.errno != 0 && b.errno != unix.EINTR {
			lost++
			b.sent++ // skip the one that failed, such as an unreachable address
			continue
		}
		b.sent += b.n
	}
	b.queued = 0
	return lost, nil
}

func (b *batch) sendmmsg(fd uintptr) bool {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd,
		uintptr(unsafe.Pointer(&b.out[b.sent])), uintptr(b.queued-b.sent), unix.MSG_DONTWAIT, 0, 0)
	b.n, b.errno = int(n), errno
	return true
}

// socketOptions makes a socket shareable and its buffer large. The buffer is what
// bridges a pause of the process. The kernel charges about 1 KB for a short
// datagram and doubles what is asked for: at 100,000 beats a second 16 MB last 0.3 s.
func socketOptions(fd uintptr, share bool, buffer int) error {
	if share {
		if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return os.NewSyscallError("setsockopt SO_REUSEPORT", err)
		}
	}
	if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer) == nil {
		return nil
	}
	err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, buffer)
	return os.NewSyscallError("setsockopt SO_RCVBUF", err)
}

// kernelDrops returns how many datagrams the kernel dropped because the socket's
// buffer was full.
func kernelDrops(c *net.UDPConn) (uint64, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var info [9]uint32 // SK_MEMINFO_VARS; the last is SK_MEMINFO_DROPS
	size := uint32(unsafe.Sizeof(info))
	var errno syscall.Errno
	err = raw.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	})
	if err != nil {
		return 0, err
	}
	if errno != 0 {
		return 0, os.NewSyscallError("getsockopt SO_MEMINFO", errno)
	}
	return uint64(info[8]), nil
}
