package guest

import (
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// initiatorProgram logs in to the targets that the firmware booted from.
const initiatorProgram = "/sbin/iscsistart"

// ibft is what firmware that booted from a SAN has left: the network and the targets,
// with the secrets.
type ibft struct{ dir string }

// firmware returns the table, if there is one.
func (g *inside) firmware() (ibft, bool) {
	t := ibft{dir: filepath.Join(g.sys, "firmware/ibft")}
	_, err := os.Stat(t.dir)
	return t, err == nil
}

func (t ibft) read(path string) string {
	b, err := os.ReadFile(filepath.Join(t.dir, path))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// address is the one under which the firmware logged in, with its prefix length, and
// the gateway.
func (t ibft) address() (ip, gateway string, err error) {
	a, err := netip.ParseAddr(t.read("ethernet0/ip-addr"))
	if err != nil {
		return "", "", fmt.Errorf("iBFT: %w", err)
	}
	mask, err := netip.ParseAddr(t.read("ethernet0/subnet-mask"))
	if err != nil || !mask.Is4() {
		return "", "", fmt.Errorf("iBFT: subnet mask: %w", errors.Join(err, ErrMalformed))
	}
	ones := 0
	for _, b := range mask.As4() {
		ones += bits.OnesCount8(b)
	}
	gateway = t.read("ethernet0/gateway")
	if g, err := netip.ParseAddr(gateway); err != nil || g.IsUnspecified() {
		gateway = ""
	}
	return fmt.Sprintf("%s/%d", a, ones), gateway, nil
}

// identity is in the initiator's name, "...:SERVER.eEPOCH": the array let in nobody
// else.
func (t ibft) identity() (server string, epoch uint64, ok bool) {
	name := t.read("initiator/initiator-name")
	rest := name[strings.LastIndexByte(name, ':')+1:]
	at := strings.LastIndex(rest, ".e")
	if at <= 0 {
		return "", 0, false
	}
	n, err := strconv.ParseUint(rest[at+2:], 10, 64)
	return rest[:at], n, err == nil && n > 0
}

// login has the kernel log in to the targets, so that their units become disks.
func (t ibft) login() error {
	if _, err := os.Stat(initiatorProgram); err != nil {
		return err
	}
	p, err := os.StartProcess(initiatorProgram, []string{initiatorProgram, "-b"}, &os.ProcAttr{
		Env: []string{"PATH=/sbin:/bin"}, Files: []*os.File{nil, os.Stderr, os.Stderr},
	})
	if err != nil {
		return err
	}
	s, err := p.Wait()
	if err == nil && !s.Success() {
		err = errors.New(s.String())
	}
	if err != nil {
		return fmt.Errorf("iscsistart: %w", err)
	}
	return nil
}
