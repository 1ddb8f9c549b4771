package ipxe

import (
	"fmt"
	"net/netip"
	"time"
)

// check refuses every text that iPXE could read as more than one word: its shell
// splits at blanks, expands ${...}, and knows quotes, backslashes, ; && and ||.
func (b Boot) check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
	}
	switch {
	case !plainWord.MatchString(b.Server):
		return bad("the server's name")
	case b.Epoch == 0:
		return bad("epoch 0 runs nothing")
	case !iqnWord.MatchString(b.Initiator):
		return bad("initiator %q is no IQN in lower case", b.Initiator)
	case !plainWord.MatchString(b.User):
		return bad("the CHAP user")
	case !plainWord.MatchString(b.Secret) || len(b.Secret) < 12 || len(b.Secret) > 16:
		return bad("the CHAP secret has not 12 to 16 letters and digits") // never the secret itself
	case len(b.Root) == 0:
		return bad("there is no LUN to start from")
	case len(b.Data) > maxData:
		return bad("%d data LUNs, above %d", len(b.Data), maxData)
	case b.Tries < 1 || b.Tries > 10000:
		return bad("%d tries", b.Tries)
	case b.Pause < time.Second || b.Pause > time.Hour || b.Pause%time.Second != 0:
		return bad("a pause of %s", b.Pause)
	}
	for _, u := range append(append([]Unit(nil), b.Root...), b.Data...) {
		if err := u.check(); err != nil {
			return bad("%v", err)
		}
	}
	if err := b.Net.check(); err != nil {
		return bad("%v", err)
	}
	if n := b.described(1); n > tableRoom {
		return bad("the names take %d bytes of the firmware's table, above %d: shorten the array's prefix", n, tableRoom)
	}
	return nil
}

// told is how many of the ways to the boot disk the firmware's table has room for.
func (b Boot) told() int {
	n := len(b.Root)
	for n > 1 && b.described(n) > tableRoom {
		n--
	}
	return n
}

// described is what the firmware's table must hold of the first ways to the boot disk, in
// the measure of tableRoom.
func (b Boot) described(ways int) int {
	n := len(b.Initiator) + 1
	for i, u := range b.Root[:ways] {
		n += len(u.Target.IQN) + len(b.User) + len(b.Secret) + 3
		if i > 0 {
			n += nextWay
		}
	}
	return n
}

func (u Unit) check() error {
	for _, name := range append([]string{u.Target.Portal}, u.More...) {
		if portal, err := netip.ParseAddrPort(name); err != nil || portal.Port() == 0 || portal.Addr().Zone() != "" {
			return fmt.Errorf("portal %q is not address:port", name)
		}
	}
	switch {
	case !iqnWord.MatchString(u.Target.IQN):
		return fmt.Errorf("target %q is no IQN in lower case", u.Target.IQN)
	case u.Unit < 0 || u.Unit > 255:
		return fmt.Errorf("unit %d is not in 0 to 255", u.Unit)
	}
	return nil
}

func (n Net) check() error {
	a := n.Address
	switch {
	case !nicWord.MatchString(n.Interface):
		return fmt.Errorf("interface %q is not net0 to net99", n.Interface)
	case !a.IsValid() && a != (netip.Prefix{}):
		return fmt.Errorf("the machine's address is not one")
	case !a.IsValid() && n.Gateway.IsValid():
		return fmt.Errorf("a gateway without an address; DHCP brings its own")
	case !a.IsValid():
		return nil
	case !a.Addr().Is4() || a.Bits() < 1:
		return fmt.Errorf("address %s: iPXE sets IPv4 addresses only", a)
	case n.Gateway.IsValid() && !a.Contains(n.Gateway):
		return fmt.Errorf("gateway %s is not in %s", n.Gateway, a.Masked())
	}
	return nil
}
