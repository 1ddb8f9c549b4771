package mountinfo

import (
	"slices"
	"testing"
)

func TestParse(t *testing.T) {
	const lines = `22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
36 22 98:0 / /srv/my\040data\134x rw - xfs /dev/my\011disk ro
40 22 0:5 / /proc ro - proc proc rw
41 22 0:6 / /run rw - tmpfs  rw
42 22 7:0 / /a rw,relatime - ext4 /dev/loop0 rw,errors=remount-ro,emergency_ro
43 22 7:1 / /b rw,relatime - ext4 /dev/loop1 rw,shutdown
`
	got, err := Parse(lines)
	want := []Mount{
		{Number: "8:1", Path: "/", Type: "ext4", Source: "/dev/sda1"},
		{Number: "98:0", Path: `/srv/my data\x`, Type: "xfs", Source: "/dev/my\tdisk", ReadOnly: true},
		{Number: "0:5", Path: "/proc", Type: "proc", Source: "proc", ReadOnly: true},
		{Number: "0:6", Path: "/run", Type: "tmpfs"},
		{Number: "7:0", Path: "/a", Type: "ext4", Source: "/dev/loop0", ReadOnly: true},
		{Number: "7:1", Path: "/b", Type: "ext4", Source: "/dev/loop1", ReadOnly: true},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"36 22 98:0 / /srv rw\n", "36 22 98:0 / - xfs /dev/a rw\n", "\n"} {
		if got, err := Parse(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, got)
		}
	}
}
