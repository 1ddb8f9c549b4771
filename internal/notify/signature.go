package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// SignatureHeader is the header that carries the signature.
const SignatureHeader = "Relight-Signature"

// The reasons for which Verify refuses a request; its errors wrap one of them.
var (
	ErrHeader    = errors.New("malformed signature header")
	ErrTime      = errors.New("signature time is too far off")
	ErrSignature = errors.New("signature does not match")
)

// Sign returns the value of the signature header for a body sent at the time.
func Sign(secret, body []byte, at time.Time) string {
	t := strconv.FormatInt(at.Unix(), 10)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac(secret, t, body))
}

// Verify checks a received body against its signature header. It refuses a time
// of sending that differs from now by more than the tolerance. Of several v1
// signatures one must match, and fields that it does not know are passed over,
// so that the sender may change secrets and add schemes.
func Verify(secret []byte, header string, body []byte, now time.Time, tolerance time.Duration) error {
	var t string
	var sums []string
	for field := range strings.SplitSeq(header, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(field), "=")
		switch {
		case !ok || (name == "t" && t != ""):
			return fmt.Errorf("%w: %q", ErrHeader, header)
		case name == "t":
			t = value
		case name == "v1":
			sums = append(sums, value)
		}
	}
	seconds, err := strconv.ParseInt(t, 10, 64)
	if err != nil || len(sums) == 0 {
		return fmt.Errorf("%w: %q", ErrHeader, header)
	}
	// The signature first: an unsigned time is not worth an answer.
	want := mac(secret, t, body)
	match := false
	for _, sum := range sums {
		got, err := hex.DecodeString(sum)
		match = match || (err == nil && hmac.Equal(got, want))
	}
	if !match {
		return ErrSignature
	}
	if off := now.Sub(time.Unix(seconds, 0)).Abs(); off > tolerance {
		return fmt.Errorf("%w: by %s", ErrTime, off.Truncate(time.Second))
	}
	return nil
}

func mac(secret []byte, t string, body []byte) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(t))
	h.Write([]byte("."))
	h.Write(body)
	return h.Sum(nil)
}
