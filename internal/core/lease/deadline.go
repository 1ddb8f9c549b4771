package lease

import (
	"math"
	"time"
)

// HolderDeadline is when the holder of a lease must have stopped, on its own clock:
// sentAt + L(1−drift) − margin. sentAt is stamped before the request is sent;
// counting from the reply would let a slow reply lengthen the lease. drift is the
// most by which a clock may run fast or slow, in parts per million.
func HolderDeadline(sentAt int64, lease time.Duration, driftPPM int64, margin time.Duration) int64 {
	if lease <= 0 {
		return sentAt
	}
	held := int64(lease) - share(lease, driftPPM) - int64(margin)
	return addSaturating(sentAt, max(held, 0))
}

// GrantorDeadline is until when the grantor must wait before it may take the lease
// as ended, on its own clock: grantedAt + L(1+drift) + margin. grantedAt is stamped
// after the request arrived, hence never before the holder's sentAt.
func GrantorDeadline(grantedAt int64, lease time.Duration, driftPPM int64, margin time.Duration) int64 {
	if lease <= 0 {
		return grantedAt
	}
	d := addSaturating(int64(lease), share(lease, driftPPM))
	return addSaturating(grantedAt, addSaturating(d, int64(margin)))
}

// share is d × ppm / 10⁶, rounded up so that both sides err to the safe side, and
// computed in two parts so that leases of days do not overflow.
func share(d time.Duration, ppm int64) int64 {
	const million = 1_000_000
	n := int64(d)
	return n/million*ppm + (n%million*ppm+million-1)/million
}

func addSaturating(a, b int64) int64 {
	if s := a + b; s >= a || b < 0 {
		return s
	}
	return math.MaxInt64
}
