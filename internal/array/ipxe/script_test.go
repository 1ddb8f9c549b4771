package ipxe

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"relight/internal/array"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func plain() Boot {
	return Boot{
		Ref:       array.Ref{Server: "lic-01", Epoch: 7},
		Initiator: "iqn.2026-01.org.example.san:lic-01.e7", User: "lic-01.e7", Secret: "abcdefgh23456789",
		Root: []Unit{{Target: array.Target{Portal: "10.77.0.1:3260", IQN: "iqn.2026-01.org.example.san:t.lic-01.e7"}, Unit: 1}},
	}
}

func TestGolden(t *testing.T) {
	rich := plain()
	other := rich.Root[0].Target
	other.Portal = "10.78.0.1:3261"
	rich.Root = append(rich.Root, Unit{Target: other, Unit: 1})
	rich.Data = []Unit{{Target: rich.Root[0].Target, Unit: 2}, {Target: rich.Root[0].Target, Unit: 10}, {Target: rich.Root[0].Target, Unit: 255}}
	rich.Net = Net{Interface: "net1", Address: netip.MustParsePrefix("10.77.0.50/23"), Gateway: netip.MustParseAddr("10.77.1.254")}
	rich.Keep, rich.Tries, rich.Pause = true, 3, 2*time.Second
	six := plain()
	six.Root[0].Target.Portal = "[2001:db8::1]:3260"
	for name, b := range map[string]Boot{"plain": plain(), "rich": rich, "six": six} {
		t.Run(name, func(t *testing.T) {
			got, err := Script(b)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name+".ipxe")
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// iPXE reads a unit's number in hexadecimal: written in decimal, 10 would boot
// unit 16 (RFC 4173).
func TestUnitsAreHexadecimal(t *testing.T) {
	for unit, want := range map[int]string{1: ":1:", 9: ":9:", 10: ":a:", 16: ":10:", 100: ":64:", 255: ":ff:"} {
		b := plain()
		b.Root[0].Unit = unit
		got, err := Script(b)
		if err != nil || !bytes.Contains(got, []byte("iscsi:10.77.0.1::3260"+want+"iqn.2026-01.org.example.san:t.lic-01.e7 ")) {
			t.Errorf("unit %d: no %q in\n%s (%v)", unit, want, got, err)
		}
	}
}

func TestRefused(t *testing.T) {
	for name, spoil := range map[string]func(*Boot){
		"a second command in the server": func(b *Boot) { b.Server = "x;reboot" },
		"a setting in the server":        func(b *Boot) { b.Server = "${password}" },
		"no epoch":                       func(b *Boot) { b.Epoch = 0 },
		"upper case":                     func(b *Boot) { b.Initiator = "iqn.2026-01.org.example:X" },
		"a blank in the initiator":       func(b *Boot) { b.Initiator += " x" },
		"a line in the user":             func(b *Boot) { b.User = "a\nshell" },
		"a short secret":                 func(b *Boot) { b.Secret = "short" },
		"a long secret":                  func(b *Boot) { b.Secret = strings.Repeat("a", 17) },
		"a setting in the secret":        func(b *Boot) { b.Secret = "${net0/mac}aaaa" },
		"no disk":                        func(b *Boot) { b.Root = nil },
		"a name as portal":               func(b *Boot) { b.Root[0].Target.Portal = "san.example:3260" },
		"no port":                        func(b *Boot) { b.Root[0].Target.Portal = "10.0.0.1" },
		"a command in the target":        func(b *Boot) { b.Root[0].Target.IQN += " || shell" },
		"a target that is no IQN":        func(b *Boot) { b.Root[0].Target.IQN = "x" },
		"unit 256":                       func(b *Boot) { b.Root[0].Unit = 256 },
		"a negative unit":                func(b *Boot) { b.Data = []Unit{{Target: b.Root[0].Target, Unit: -1}} },
		"an interface":                   func(b *Boot) { b.Net.Interface = "net0 && shell" },
		"IPv6":                           func(b *Boot) { b.Net.Address = netip.MustParsePrefix("2001:db8::1/64") },
		"a gateway elsewhere": func(b *Boot) {
			b.Net = Net{Address: netip.MustParsePrefix("10.0.0.1/24"), Gateway: netip.MustParseAddr("10.0.1.1")}
		},
		"a gateway for DHCP":           func(b *Boot) { b.Net.Gateway = netip.MustParseAddr("10.0.1.1") },
		"half a second":                func(b *Boot) { b.Pause = time.Second / 2 },
		"too many disks":               func(b *Boot) { b.Data = make([]Unit, maxData+1) },
		"names too long for the table": func(b *Boot) { b.Root[0].Target.IQN += strings.Repeat("a", 150) },
	} {
		b := plain()
		spoil(&b)
		got, err := Script(b)
		if !errors.Is(err, ErrInvalid) || got != nil {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
		if err != nil && strings.Contains(err.Error(), b.Secret) && b.Secret != "" {
			t.Errorf("%s: the error tells the secret: %v", name, err)
		}
	}
}

// Each way is tried alone, too, also those that are not described to the guest: its table
// is small. A script that this makes too long goes without.
func TestEachWayAlone(t *testing.T) {
	ways := func(iqn string, n int) Boot {
		b := plain()
		b.Root[0].Target.IQN = iqn
		for i := 1; i < n; i++ {
			u := b.Root[0]
			u.Target.Portal = fmt.Sprintf("10.77.0.%d:3260", i+1)
			b.Root = append(b.Root, u)
		}
		return b
	}
	// hooks are the lines that attach a disk, made short.
	short := strings.NewReplacer("sanhook --drive 0x80 ", "hook ", "sanunhook --drive 0x80 ||", "unhook", "iscsi:10.77.0.", "", "::3260:1:iqn.2026-01.x:y", "", "::3260:1:"+longIQN, "")
	hooks := func(b Boot) string {
		t.Helper()
		script, err := Script(b)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(script), "dhcp net0 || goto nonet\n")
		rest, _, _ = strings.Cut(rest, "\nsanboot")
		return strings.ReplaceAll(short.Replace(rest), "\n", "; ")
	}
	for want, b := range map[string]Boot{
		"hook 1 || goto refused": ways("iqn.2026-01.x:y", 1),
		"hook 1 2 && goto in80 ||; unhook; hook 1 && goto in80 ||; unhook; hook 2 || goto refused; :in80":                                 ways("iqn.2026-01.x:y", 2),
		"hook 1 2 && goto in80 ||; unhook; hook 1 && goto in80 ||; unhook; hook 2 && goto in80 ||; unhook; hook 3 || goto refused; :in80": ways("iqn.2026-01.x:y", 3),
		"hook 1 && goto in80 ||; unhook; hook 2 && goto in80 ||; unhook; hook 3 || goto refused; :in80":                                   ways(longIQN, 3),
	} {
		if got := hooks(b); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	b := ways("iqn.2026-01.x:y", 1)
	for range 16 {
		u := b.Root[0]
		for i := range 10 {
			u.More = append(u.More, fmt.Sprintf("10.78.0.%d:3260", i+1))
		}
		b.Data = append(b.Data, u)
	}
	if got := hooks(b); strings.Count(got, "hook") != 17 || strings.Count(got, "iscsi:10.78") != 160 {
		t.Errorf("of a script that would be too long: %s", got)
	}
}

// longIQN is a name of which the firmware's table takes only one.
var longIQN = "iqn.2026-01.org.example.san:" + strings.Repeat("t", 70)

// TestNothingIsInjected draws names from all texts: a script that is made has the
// same commands in the same order as one with harmless names.
func TestNothingIsInjected(t *testing.T) {
	shape := func(script []byte) string {
		word := regexp.MustCompile(`(?m)^(:?[a-z#!]+)|(\|\|.*$)|(&&.*$)`)
		return fmt.Sprint(word.FindAllString(string(script), -1))
	}
	clean, err := Script(plain())
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`net[0-9]+`).ReplaceAllString(shape(clean), "net0")
	nasty := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z0-9.:-]{1,20}[ ;|&$"'\\{}\n#]{0,3}[a-z]{0,10}`), rapid.StringMatching(`[A-Za-z0-9._-]{12,16}`))
	iqn := rapid.OneOf(nasty, rapid.StringMatching(`iqn\.2026-01\.[a-z0-9.:-]{1,30}`))
	rapid.Check(t, func(rt *rapid.T) {
		b := plain()
		b.Server, b.User, b.Secret = nasty.Draw(rt, "server"), nasty.Draw(rt, "user"), nasty.Draw(rt, "secret")
		b.Initiator, b.Root[0].Target.IQN = iqn.Draw(rt, "initiator"), iqn.Draw(rt, "target")
		got, err := Script(b)
		if err != nil {
			return
		}
		if have := shape(got); have != want {
			rt.Fatalf("other commands:\n%s\n%s", have, want)
		}
		for _, line := range strings.Split(string(got), "\n") {
			line = strings.NewReplacer("${errno}", "", "${tries}", "").Replace(line)
			if strings.ContainsAny(line, "$`\"'\\;") {
				rt.Fatalf("a line that iPXE reads otherwise: %q", line)
			}
		}
	})
}
