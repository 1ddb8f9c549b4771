package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"relight/internal/rack"
)

// The nodes of a lab, each a network namespace. Hosts run servers.
const (
	nodeSwitch     = "sw"
	nodeSAN        = "san"
	nodeController = "ctl"
	nodeClient     = "cl"
)

// Hosts lists the hypervisor hosts of every lab.
func Hosts() []string { return []string{"ha", "hb", "hc"} }

func nodes() []string {
	return append([]string{nodeSwitch, nodeSAN, nodeController, nodeClient}, Hosts()...)
}

// home holds a directory for each lab, so that leftovers of a crash are found.
const home = "/var/lib/relight-lab"

// prefix begins the names of all network namespaces and links of labs.
const prefix = "rlab-"

// ErrNone means that there is no such lab.
var ErrNone = errors.New("there is no such lab")

// names keeps names short enough for a link's, which has 15 bytes.
var names = regexp.MustCompile(`^[a-z][a-z0-9]{0,7}$`)

// Lab is one lab. It holds no processes: each call looks for them afresh, so that
// any process may break what another one has built.
type Lab struct {
	Name string `json:"name"`
	// Part is the third byte of its networks, 1 to 254; see the methods below.
	Part int `json:"part"`
	// Control is the number of the target daemon's control socket.
	Control int `json:"control"`
	// Exe is this program.
	Exe string `json:"exe"`
	// Owner is the process whose end ends the lab; 0 if it is kept until it is
	// taken down.
	Owner int `json:"owner,omitempty"`
	// Limit is how long a host may be silent before it counts as lost: two thirds until
	// it is suspected, and one until that counts.
	Limit time.Duration `json:"limit"`
	// Controllers is how many there are; 0 for one with a store of its own.
	Controllers int `json:"controllers,omitempty"`

	warden *rack.Warden
}

// Open finds a lab by its name. Errors: ErrNone.
func Open(name string) (*Lab, error) {
	if !names.MatchString(name) {
		return nil, fmt.Errorf("lab %q: a name has up to 8 lower-case letters and digits: %w", name, ErrNone)
	}
	data, err := os.ReadFile(filepath.Join(home, name, "lab.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("lab %s: %w; next: relight lab up", name, ErrNone)
	}
	if err != nil {
		return nil, fmt.Errorf("lab %s: %w", name, err)
	}
	var l Lab
	if err := json.Unmarshal(data, &l); err != nil {
		return nil, fmt.Errorf("lab %s: %w", name, err)
	}
	return &l, nil
}

// List finds the names of all labs, whole or not: by their directories and by
// their network namespaces.
func List() ([]string, error) {
	var out []string
	for dir, name := range map[string]func(string) string{
		home:  func(n string) string { return n },
		netns: func(n string) string { return labOf(n) },
	} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			if n := name(e.Name()); names.MatchString(n) && !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	slices.Sort(out)
	return out, nil
}

// labOf is the lab to which a namespace belongs; empty if none.
func labOf(namespace string) string {
	rest, ours := strings.CutPrefix(namespace, prefix)
	at := strings.LastIndex(rest, "-")
	if !ours || at < 0 || !slices.Contains(nodes(), rest[at+1:]) {
		return ""
	}
	return rest[:at]
}

func (l *Lab) write() error {
	data, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(l.path("lab.json"), append(data, '\n'), 0o600)
}

func (l *Lab) path(parts ...string) string {
	return filepath.Join(append([]string{home, l.Name}, parts...)...)
}

// Dir holds all of the lab's files.
func (l *Lab) Dir() string { return l.path() }

// ClientConfig is the path of the client.json with which people reach the lab.
func (l *Lab) ClientConfig() string { return l.path("client.json") }

// LUNFile is the file behind a LUN: what the SAN has on its disks.
func (l *Lab) LUNFile(name string) string { return l.path("luns", name+".img") }

// Log is the log of a node.
func (l *Lab) Log(node string) string { return l.path(node + ".log") }

// Namespace is the name of a host's network namespace.
func (l *Lab) Namespace(host string) string { return l.namespace(host) }

// Address is a host's address on the management network.
func (l *Lab) Address(host string) string { return l.management(last(host)) }

// namespace is the name of a node's network namespace.
func (l *Lab) namespace(node string) string { return prefix + l.Name + "-" + node }

// The networks. Beside storage and management there is a link from this machine to
// the controller, for people.
func (l *Lab) storage(last int) string    { return fmt.Sprintf("10.77.%d.%d", l.Part, last) }
func (l *Lab) management(last int) string { return fmt.Sprintf("10.78.%d.%d", l.Part, last) }
func (l *Lab) people(last int) string     { return fmt.Sprintf("10.79.%d.%d", l.Part, last) }

// last is the last byte of a node's addresses.
func last(node string) int {
	switch node {
	case nodeSAN:
		return 1
	case nodeController:
		return 2
	case nodeClient:
		return 50
	default:
		return 11 + slices.Index(Hosts(), node)
	}
}

// Portal is where initiators log in.
func (l *Lab) Portal() string { return l.storage(last(nodeSAN)) + ":3260" }
