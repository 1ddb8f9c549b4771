// Package mountinfo reads what the kernel lists as mounted, for the guest agent and for
// agents that mount volumes.
package mountinfo

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Mount is one line of /proc/PID/mountinfo.
type Mount struct {
	// Number is the device's, MAJOR:MINOR.
	Number string
	// Path is where it is mounted, Type the file system's, Source its device or a name.
	Path, Type, Source string
	// ReadOnly is true if the mount or its file system is, or if that gave up after
	// errors, where the kernel lists it: 6.18 does, and Debian's 6.1 does not.
	ReadOnly bool
}

// Parse returns the mounts in their order. A line that is not understood is an error: what
// it would have told must not pass for nothing.
func Parse(data string) ([]Mount, error) {
	var out []Mount
	for line := range strings.Lines(data) {
		// 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
		head, tail, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		h, t := strings.Fields(head), strings.Split(tail, " ") // a source may be empty
		if !ok || len(h) < 6 || len(t) < 3 {
			return nil, fmt.Errorf("mountinfo has a line that is not understood: %.100q", line)
		}
		options := slices.Concat(strings.Split(h[5], ","), strings.Split(t[2], ","))
		held := func(o string) bool { return o == "ro" || o == "emergency_ro" || o == "shutdown" }
		out = append(out, Mount{
			Number: h[2], Path: unescaped(h[4]), Type: t[0], Source: unescaped(t[1]), ReadOnly: slices.ContainsFunc(options, held),
		})
	}
	return out, nil
}

// unescaped undoes the kernel's \040 for a blank and its like.
func unescaped(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}
