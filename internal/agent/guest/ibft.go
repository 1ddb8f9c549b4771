package guest

import (
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

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
	name := t.initiator()
	rest := name[strings.LastIndexByte(name, ':')+1:]
	at := strings.LastIndex(rest, ".e")
	if at <= 0 {
		return "", 0, false
	}
	n, err := strconv.ParseUint(rest[at+2:], 10, 64)
	return rest[:at], n, err == nil && n > 0
}

// login logs in to what the table describes; see enter.
func (t ibft) login() error {
	if _, err := os.Stat(initiatorProgram); err != nil {
		return err
	}
	ways, initiator := t.ways(), t.initiator()
	return enter(ways, func(w way) error { return runLogin(loginArgs(initiator, w, len(ways) > 1), loginKill) })
}

// way is one way to the units of the epoch, as the firmware has described it.
type way struct {
	target, portal, port string
	user, secret         string
}

func (w way) String() string { return w.target + " at " + w.portal + ":" + w.port }

// ways lists all that the firmware was told, in its order, also those that were dead then.
// Such a one is described without name and secret: the firmware tells those that it had to
// use. It has one of each for all ways.
func (t ibft) ways() []way {
	out := t.targets()
	if i := slices.IndexFunc(out, func(w way) bool { return w.user != "" }); i >= 0 {
		for k := range out {
			if out[k].user == "" {
				out[k].user, out[k].secret = out[i].user, out[i].secret
			}
		}
	}
	return out
}

// targets are the ways as they are described.
func (t ibft) targets() []way {
	var out []way
	for i := 0; ; i++ {
		of := fmt.Sprintf("target%d/", i)
		if _, err := os.Stat(filepath.Join(t.dir, of)); err != nil {
			return out
		}
		w := way{
			target: t.read(of + "target-name"), portal: t.read(of + "ip-addr"), port: t.read(of + "port"),
			user: t.read(of + "chap-name"), secret: t.read(of + "chap-secret"),
		}
		if a, err := netip.ParseAddr(w.portal); err != nil || a.IsUnspecified() || w.target == "" {
			say("iBFT: target %d names no target and portal", i)
			continue
		}
		if w.port == "" {
			w.port = "3260"
		}
		if !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
}

// initiator is the name under which the firmware logged in.
func (t ibft) initiator() string { return t.read("initiator/initiator-name") }
