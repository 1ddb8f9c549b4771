package spec

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// fault is what is wrong with one value, without its place.
type fault struct {
	message, why, fix string
	// secret says that the value must not be shown.
	secret bool
}

// format checks one kind of text.
type format struct {
	// pattern and max go into the JSON Schema; check may be stricter.
	pattern string
	max     int
	// check returns the text in its canonical notation.
	check func(string) (string, *fault)
}

var (
	labelRE    = regexp.MustCompile(patternDNS)
	keyRE      = regexp.MustCompile(patternKey)
	envRE      = regexp.MustCompile(patternEnv)
	notDNS     = regexp.MustCompile(`[^a-z0-9]+`)
	durationRE = regexp.MustCompile(patternDuration)
)

const (
	patternDNS      = `^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`
	patternKey      = `^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$`
	patternEnv      = `^[A-Za-z_][A-Za-z0-9_]*$`
	patternOption   = `^[A-Za-z][A-Za-z0-9_-]*$`
	patternDuration = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
)

var optionRE = regexp.MustCompile(patternOption)

func dnsLabel() *format {
	return &format{pattern: patternDNS, max: 63, check: func(s string) (string, *fault) {
		if len(s) <= 63 && labelRE.MatchString(s) {
			return s, nil
		}
		f := &fault{
			message: fmt.Sprintf("%s is not a name", quote(s)),
			why:     "names become host names, file names and tags: a to z, 0 to 9 and -, at most 63, no - at either end",
			fix:     `use a name such as "web-1"`,
		}
		if len(s) > 63 {
			f.message = fmt.Sprintf("the name has %d characters, at most 63 are allowed", len(s))
		}
		if better := strings.Trim(notDNS.ReplaceAllString(strings.ToLower(s), "-"), "-"); better != "" {
			f.fix = fmt.Sprintf("did you mean %q?", strings.Trim(better[:min(len(better), 63)], "-"))
		}
		return s, f
	}}
}

const labelWhy = "selectors such as app=web need letters and digits, with . _ / - only inside, at most 63"

func labelKey() *format {
	return &format{pattern: patternKey, max: 63, check: func(s string) (string, *fault) {
		return matches(s, keyRE, 63, "a label's name", labelWhy, "app")
	}}
}

func labelValue() *format {
	return &format{pattern: patternKey, max: 63, check: func(s string) (string, *fault) {
		return matches(s, keyRE, 63, "a label's value", labelWhy, "web")
	}}
}

func envName() *format {
	return &format{pattern: patternEnv, max: 256, check: func(s string) (string, *fault) {
		return matches(s, envRE, 256, "the name of an environment variable", "programs can read only letters, digits and _, not starting with a digit", "LOG_LEVEL")
	}}
}

// secretOptions are the fence agents' options that hold a secret.
var secretOptions = map[string]string{ //nolint:gosec // names of options, no secrets
	"passwd": "password_script", "password": "password_script",
	"snmp_auth_passwd": "snmp_priv_passwd_script", "snmp_priv_passwd": "snmp_priv_passwd_script",
}

func optionName() *format {
	return &format{pattern: patternOption, max: 128, check: func(s string) (string, *fault) {
		if script, secret := secretOptions[s]; secret {
			return s, &fault{
				message: fmt.Sprintf("the option %q would hold a secret", s),
				why:     "everyone who may read this file or the spec would read it",
				fix:     fmt.Sprintf("use %s with the path of a program that prints it", script),
				secret:  true,
			}
		}
		if s == "action" || s == "option" || s == "plug" {
			return s, &fault{message: fmt.Sprintf("the option %q is not yours to set", s), why: "it decides what is done to which plug", fix: "remove it; the plug has a field of its own"}
		}
		return matches(s, optionRE, 128, "the name of a fence agent's option", "it becomes the left side of a name=value line", "ip")
	}}
}

func matches(s string, re *regexp.Regexp, max int, what, why, example string) (string, *fault) {
	if len(s) <= max && re.MatchString(s) {
		return s, nil
	}
	return s, &fault{message: fmt.Sprintf("%s cannot be %s", quote(s), what), why: why, fix: fmt.Sprintf("write one such as %q", example)}
}

// plain is a non-empty text on one line.
func plain(max int) *format {
	return &format{pattern: `^[^\x00-\x1f\x7f]+$`, max: max, check: func(s string) (string, *fault) {
		switch {
		case s == "":
			return s, &fault{message: "the text is empty", why: "it names something", fix: "write the name, or remove the line"}
		case len(s) > max:
			return s, &fault{message: fmt.Sprintf("the text has %d bytes, at most %d are allowed", len(s), max), why: "no provider has longer names", fix: "shorten it"}
		case strings.ContainsFunc(s, isControl):
			return s, &fault{message: fmt.Sprintf("%s holds a control character", quote(s)), why: "it could not be shown or passed on faithfully", fix: "remove it"}
		}
		return s, nil
	}}
}

// argument is a text that becomes a process's argument or environment value.
func argument() *format {
	return &format{pattern: `^[^\x00]*$`, max: 128 << 10, check: func(s string) (string, *fault) {
		switch {
		case len(s) > 128<<10:
			return s, &fault{message: "the text is longer than 128 KiB", why: "Linux refuses longer arguments", fix: "put it into a file"}
		case strings.ContainsRune(s, 0):
			return s, &fault{message: fmt.Sprintf("%s holds a NUL", quote(s)), why: "arguments and environment end at a NUL", fix: "remove it"}
		}
		return s, nil
	}}
}

// line is a text that must stay on its line, because it is passed on as one.
func line() *format {
	return &format{pattern: `^[^\x00\r\n]*$`, max: 4096, check: func(s string) (string, *fault) {
		switch {
		case len(s) > 4096:
			return s, &fault{message: "the text is longer than 4 KiB", why: "no fence agent reads longer lines", fix: "shorten it"}
		case strings.ContainsAny(s, "\x00\r\n"):
			return s, &fault{message: fmt.Sprintf("%s holds a line break or NUL", quote(s)), why: "it would smuggle a second option into the fence agent's input", fix: "keep it on one line"}
		}
		return s, nil
	}}
}

func absPath() *format {
	return &format{pattern: `^/[^\x00]+$`, max: 4096, check: func(s string) (string, *fault) {
		f := &fault{
			message: fmt.Sprintf("%s is not an absolute, clean path", quote(s)),
			why:     "it must mean the same directory to every agent and every lock", fix: `write a path such as "/srv/web-1"`,
		}
		if len(s) > 4096 || strings.ContainsFunc(s, isControl) || !strings.HasPrefix(s, "/") {
			return s, f
		}
		clean := path.Clean(s)
		if clean == "/" {
			f.message = "the path is the root directory"
			return s, f
		}
		if clean != s {
			f.fix = "write " + quote(clean)
			return s, f
		}
		return s, nil
	}}
}

func ipAddress() *format {
	return &format{pattern: `^[0-9A-Fa-f:.]+$`, max: 45, check: func(s string) (string, *fault) {
		f := &fault{message: fmt.Sprintf("%s is not an IP address", quote(s)), why: "the address moves with the server, so it must be one exact address", fix: `write one such as "10.0.1.9" or "2001:db8::9"`}
		a, err := netip.ParseAddr(s)
		if err != nil {
			if p, err := netip.ParsePrefix(s); err == nil {
				f.fix = fmt.Sprintf("write %q, without the prefix length", p.Addr().String())
			}
			return s, f
		}
		a = a.Unmap()
		switch {
		case a.Zone() != "":
			f.message, f.fix = fmt.Sprintf("%s names an interface", quote(s)), fmt.Sprintf("write %q; the agent finds the interface", a.WithZone("").String())
			return s, f
		case a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
			f.message, f.why = fmt.Sprintf("%s is no address of one server", quote(s)), "clients could not reach exactly one server on it"
			return s, f
		}
		return a.String(), nil
	}}
}

func httpURL() *format {
	return &format{pattern: `^https?://[^\s/]+`, max: 2048, check: func(s string) (string, *fault) {
		u, err := url.Parse(s)
		if err == nil && len(s) <= 2048 && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil && !strings.ContainsAny(s, " \t\r\n") {
			return s, nil
		}
		f := &fault{message: fmt.Sprintf("%s is not an http or https URL", quote(s)), why: "host agents and witnesses fetch it", fix: `write one such as "http://10.0.1.9:8080/healthz"`}
		if err == nil && u.User != nil {
			f.secret = true
			f.message, f.why, f.fix = "the URL holds a user or password", "everyone who may read the spec would read it", "offer a health page that needs no password"
		}
		return s, f
	}}
}

func hostPort() *format {
	return &format{pattern: `^[^\s]+:[0-9]{1,5}$`, max: 260, check: func(s string) (string, *fault) {
		host, port, err := net.SplitHostPort(s)
		n, perr := strconv.ParseUint(port, 10, 16)
		if err == nil && perr == nil && n > 0 && host != "" && len(s) <= 260 && !strings.ContainsAny(s, " \t\r\n") {
			return s, nil
		}
		return s, &fault{message: fmt.Sprintf("%s is not a host and port", quote(s)), why: "a connection needs both, and a port from 1 to 65535", fix: `write one such as "10.0.1.9:5432"`}
	}}
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }

// quote shows a text in messages, safe for a terminal and not too long.
func quote(s string) string {
	if r := []rune(s[:min(len(s), 400)]); len(r) > 60 {
		return strconv.Quote(string(r[:59]) + "…")
	}
	return strconv.Quote(s)
}
