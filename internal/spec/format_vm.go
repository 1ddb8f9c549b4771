package spec

import (
	"crypto/sha256"
	"fmt"
	"net"
	"regexp"
	"strings"
)

const (
	patternLUN       = `^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$`
	patternInterface = `^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`
	patternMAC       = `^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$`
)

var (
	lunRE       = regexp.MustCompile(patternLUN)
	interfaceRE = regexp.MustCompile(patternInterface)
	macRE       = regexp.MustCompile(patternMAC)
)

func lunName() *format {
	return &format{pattern: patternLUN, max: 127, check: func(s string) (string, *fault) {
		return matches(s, lunRE, 127, "the name of a LUN", "arrays take a to z, 0 to 9 and . _ - inside, at most 127", "db-1-data")
	}}
}

// interfaceName is the name of a network interface; the kernel cuts it at 15.
func interfaceName() *format {
	return &format{pattern: patternInterface, max: 15, check: func(s string) (string, *fault) {
		return matches(s, interfaceRE, 15, "the name of a network interface", "Linux takes at most 15 letters, digits and . _ -", "br0")
	}}
}

// macAddress is an Ethernet address of one interface, in lower case with colons.
func macAddress() *format {
	return &format{pattern: patternMAC, max: 17, check: func(s string) (string, *fault) {
		f := &fault{message: fmt.Sprintf("%s is not the address of a network interface", quote(s)), why: "clients and switches know the machine by it, so it must be one exact address", fix: `write one such as "02:00:0a:00:01:16", or remove the line`}
		mac, err := net.ParseMAC(s)
		if err != nil || !macRE.MatchString(s) {
			return s, f
		}
		if mac[0]&1 != 0 || strings.Trim(mac.String(), "0:") == "" {
			f.message, f.why = fmt.Sprintf("%s is no address of one interface", quote(s)), "it means a group of interfaces, or none"
			return s, f
		}
		return mac.String(), nil
	}}
}

// macOf makes the address of a server's interface from its name: the same in every
// epoch and on every host, locally administered, so that no vendor has given it to
// anybody.
func macOf(server string) string {
	h := sha256.Sum256([]byte("relight mac " + server))
	return net.HardwareAddr{0x02, h[0], h[1], h[2], h[3], h[4]}.String()
}

func arrayOption() *format {
	return &format{pattern: patternOption, max: 128, check: func(s string) (string, *fault) {
		if script, secret := secretOptions[s]; secret {
			return s, &fault{
				message: fmt.Sprintf("the option %q would hold a secret", s),
				why:     "everyone who may read this file or the spec would read it",
				fix:     fmt.Sprintf("use %s with the path of a program that prints it", script),
				secret:  true,
			}
		}
		return matches(s, optionRE, 128, "the name of an array's option", "drivers know theirs by plain names", "dir")
	}}
}
