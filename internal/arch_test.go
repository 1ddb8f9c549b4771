// Package internal_test keeps the shape of the tree: who may import whom, what
// the core may not do, how large files and functions may grow.
package internal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// row is one rule about imports. Patterns are import paths; "x/..." stands for x
// and all below; paths of ours are written without the module's name before them.
// Paths of ours are followed through our own packages, others count only where
// they are imported directly, since nearly everything reaches os through fmt.
type row struct {
	who    []string
	except []string
	// never lists what may not be imported; onlyOurs, if not nil, lists all of
	// ours that may be, onlyStd and onlyThird likewise.
	never, onlyOurs, onlyStd, onlyThird []string
	why                                 string
}

var (
	none     = []string{}
	adapters = []string{
		"internal/provider/aws/...", "internal/provider/onprem/...", "internal/provider/sim/...",
		"internal/store/etcd/...", "internal/store/mem/...",
	}
	values = []string{
		"bytes", "cmp", "container/heap", "container/list", "crypto/hmac", "crypto/sha256", "encoding", "encoding/base32",
		"encoding/base64", "encoding/binary", "encoding/hex", "encoding/json", "errors", "fmt", "hash", "hash/crc32",
		"hash/fnv", "iter", "maps", "math", "math/bits", "math/cmplx", "net/netip", "net/url", "path", "regexp", "slices",
		"sort", "strconv", "strings", "text/tabwriter", "time", "unicode", "unicode/utf8",
	}
	testTools = []string{
		"testing/...", "github.com/google/go-cmp/...", "pgregory.net/rapid", "github.com/anishathalye/porcupine",
		"github.com/rogpeppe/go-internal/testscript", "go.uber.org/goleak",
	}
)

// rows is the table of what must never import what.
var rows = []row{
	{
		who: []string{"internal/core/..."}, except: []string{"internal/core/story"},
		onlyOurs: []string{"internal/core/..."}, onlyStd: values, onlyThird: none,
		why: "the core decides: values in, values out, so that the heal loop, why, plan and the simulator cannot disagree",
	},
	{
		who: []string{"internal/core/story"}, onlyOurs: none, onlyThird: none,
		why: "it reads and rewrites the files of the core's tests, and knows no word of the core",
	},
	{
		who: []string{"internal/core/fleet"}, onlyOurs: none,
		why: "the words stand below all else",
	},
	{
		who: []string{"internal/core/lease"}, onlyOurs: []string{"internal/core/fleet"},
		why: "an agent has no more of the core than the rules of its lease, which the simulator drives as well",
	},
	{
		who: []string{"internal/..."}, never: []string{"internal/controller/..."}, except: []string{"internal/controller/...", "internal/bench/...", "internal/simulate/..."},
		why: "the controller is wired from above: only cmd, tests, and the two that drive it whole, the bench and the simulator, know it",
	},
	{
		who:   []string{"internal/provider", "internal/store", "internal/provider/providertest/...", "internal/store/storetest/..."},
		never: adapters, onlyThird: append([]string{"golang.org/x/time/rate"}, testTools...),
		why: "a port knows neither its adapters nor their libraries",
	},
	{
		who: []string{"internal/provider/..."}, never: []string{"internal/core/decide", "internal/core/detect", "internal/core/failover"},
		why: "a provider observes and obeys; it does not think",
	},
	{
		who: []string{"internal/provider/aws/..."}, never: without(adapters, "internal/provider/aws/..."),
		why: "an adapter never imports another adapter: each can be left out",
	},
	{
		who: []string{"internal/provider/onprem/..."}, never: without(adapters, "internal/provider/onprem/..."),
		why: "an adapter never imports another adapter: each can be left out",
	},
	{
		who: []string{"internal/provider/sim/..."}, never: without(adapters, "internal/provider/sim/..."),
		why: "an adapter never imports another adapter: each can be left out",
	},
	{
		who: []string{"internal/provider/san/..."}, never: append([]string{"internal/provider/guest/...", "internal/array/tgt/...", "internal/array/lio/...", "internal/array/ontap/..."}, adapters...),
		why: "what providers share of arrays knows no platform and no driver",
	},
	{
		who: []string{"internal/store/etcd/...", "internal/store/mem/..."}, onlyOurs: []string{"internal/store", "internal/store/etcd/...", "internal/store/mem/..."},
		why: "a store keeps bytes and knows nothing of servers",
	},
	{
		who: []string{"internal/store/etcd/..."}, never: without(adapters, "internal/store/etcd/..."),
		why: "an adapter never imports another adapter: each can be left out",
	},
	{
		who: []string{"internal/store/mem/..."}, never: without(adapters, "internal/store/mem/..."),
		why: "an adapter never imports another adapter: each can be left out",
	},
	{
		who: []string{"internal/spec/..."}, onlyOurs: []string{"internal/spec/...", "internal/core/..."},
		onlyThird: []string{"go.yaml.in/yaml/v3", "github.com/santhosh-tekuri/jsonschema/v6/...", "golang.org/x/text/...", "cel.dev/cel-go/..."},
		why:       "reading a spec must work without a controller, a store or a network",
	},
	{
		who: []string{"internal/cli/...", "internal/web/...", "internal/demo/...", "internal/dev/...", "internal/api/client/..."}, except: []string{"internal/demo/ec2"},
		onlyOurs: []string{
			"internal/api/client/...", "internal/spec/...", "internal/core/...",
			"internal/cli/...", "internal/web/...", "internal/demo/...", "internal/dev/...",
			"internal/drill", // which itself asks for nothing but the client
			"internal/rack",
		},
		why: "what shows has a remote user's rights; what checks must not lean on what it checks",
	},
	{
		who:      []string{"internal/demo/ec2"},
		onlyOurs: []string{"internal/api/client/...", "internal/spec/...", "internal/core/...", "internal/demo/phases", "internal/rack", "internal/world", "internal/provider/aws/fakeaws", "internal/provider/aws/stage"},
		why:      "it speaks to the controller as any client does, and is itself the account that the controller acts on",
	},
	{
		who:      []string{"internal/rack"},
		onlyOurs: []string{"internal/api/client/...", "internal/spec/...", "internal/core/..."},
		why:      "fleets on one machine are started and ended from outside, by what the kernel and the API show",
	},
	{
		who:      []string{"internal/lab/..."},
		onlyOurs: []string{"internal/api/client/...", "internal/spec/...", "internal/core/...", "internal/rack", "internal/lab/..."},
		why:      "the lab builds hosts and breaks them from outside; its checker must not lean on what it checks",
	},
	{
		who: []string{"internal/demo/...", "internal/dev/..."}, never: []string{"internal/cli/...", "internal/web/..."},
		why: "the demo's checker is independent of the product",
	},
	{
		who: []string{"internal/agent/..."}, never: append([]string{
			"internal/core/decide", "internal/core/failover", "internal/core/detect", "internal/store/...",
			// Below onprem is what both ends of the line to an agent share.
			"internal/provider/onprem",
		}, without(adapters, "internal/provider/onprem/...")...),
		why: "an agent reports and obeys; the one rule of its own, self-fencing, is in core/lease",
	},
	{
		who: []string{"internal/agent/guest/...", "cmd/relight-guest"}, onlyOurs: []string{"internal/agent/guest/..."},
		never: []string{"net", "net/http", "encoding/json", "log/slog", "os/exec"}, onlyThird: []string{"golang.org/x/sys/unix"},
		why: "it is the whole of a guest's user space, boots under an emulator, and is in every image",
	},
	{
		who: []string{"internal/audit/...", "internal/notify/...", "internal/metric/..."}, onlyOurs: []string{
			"internal/core/event", "internal/core/fleet", "internal/audit/...", "internal/notify/...", "internal/metric/...",
		},
		why: "three readers of events that know nothing else, so that they can never tell different stories",
	},
	{
		who: []string{"internal/world/..."}, onlyOurs: []string{"internal/core/...", "internal/world/..."},
		why: "the model of the world is no part of what it tests",
	},
	{
		who: []string{"internal/beat/..."}, onlyOurs: []string{"internal/core/fleet", "internal/core/lease", "internal/beat/..."},
		why: "beats must flow whatever state the rest is in",
	},
	{
		who: []string{"internal/array/..."}, onlyOurs: []string{"internal/array/...", "internal/core/fence", "internal/core/fleet"},
		why: "an array knows maps and sessions; who may start and where is thought elsewhere",
	},
	{
		who: []string{
			"internal/array", "internal/array/arraytest", "internal/array/examine", "internal/array/ipxe", "internal/array/iscsi",
			"internal/array/tgt/...", "internal/array/ontap/...",
		}, onlyThird: none,
		why: "what drives an array are its own tools and protocols",
	},
	{
		who: []string{"internal/array/lio/..."}, onlyThird: []string{"github.com/vishvananda/netlink", "golang.org/x/sys/unix"},
		why: "the kernel's target is driven through the kernel",
	},
	{
		who:   []string{"internal/array", "internal/array/arraytest", "internal/array/iscsi"},
		never: []string{"internal/array/tgt/...", "internal/array/lio/...", "internal/array/ontap/..."},
		why:   "one fence and one suite for all arrays: the port knows no driver",
	},
	{
		who: []string{"internal/array/tgt/..."}, never: []string{"internal/array/lio/...", "internal/array/ontap/..."},
		why: "a driver never imports another driver: each can be left out",
	},
	{
		who: []string{"internal/array/lio/..."}, never: []string{"internal/array/tgt/...", "internal/array/ontap/..."},
		why: "a driver never imports another driver: each can be left out",
	},
	{
		who: []string{"internal/array/ontap/..."}, never: []string{"internal/array/tgt/...", "internal/array/lio/..."},
		why: "a driver never imports another driver: each can be left out",
	},
	{
		who: []string{"internal/iac/..."}, onlyOurs: []string{"internal/core/...", "internal/spec/...", "internal/iac/..."},
		why: "code is generated from a spec alone",
	},
	{
		who: []string{"..."}, except: []string{"internal/provider/aws/..."}, never: []string{"github.com/aws/aws-sdk-go-v2/...", "github.com/aws/smithy-go/..."},
		why: "the SDK takes a minute and gigabytes to compile; most tests must not",
	},
	{
		who: []string{"..."}, except: []string{"internal/store/etcd/..."}, never: []string{"go.etcd.io/...", "go.uber.org/zap/..."},
		why: "an engine that shows outside its adapter cannot be replaced",
	},
	{
		who: []string{"..."}, except: []string{"internal/metric/...", "internal/store/etcd/..."}, never: []string{"github.com/prometheus/..."},
		why: "metric names are public and live in one place",
	},
	{
		who: []string{"..."}, except: []string{"internal/cli/...", "cmd/..."}, never: []string{"github.com/spf13/..."},
		why: "flags end where the command line ends",
	},
	{
		who: []string{"..."}, except: []string{"internal/api/..."}, never: []string{"github.com/danielgtaylor/huma/..."},
		why: "the API's framework stays behind the API",
	},
	{
		who: []string{"..."}, except: []string{"internal/provider/providertest/...", "internal/store/storetest/...", "internal/store/etcd/etcdtest/...", "internal/array/arraytest/...", "internal/agent/driver/virsh/virshtest/...", "internal/core/story"},
		never: append([]string{"internal/core/story", "internal/provider/providertest/...", "internal/store/storetest/...", "internal/array/arraytest/...", "internal/agent/driver/virsh/virshtest/...", "internal/store/etcd/etcdtest/..."}, testTools...),
		why:   "what only tests need is not shipped",
	},
	{
		who: []string{"..."}, never: []string{"math/rand", "html/template", "text/template", "net/rpc"},
		why: "math/rand is global state (v2 is not, if handed in); templates and rpc turn dead-code elimination off",
	},
}

func without(patterns []string, one string) []string {
	return slices.DeleteFunc(slices.Clone(patterns), func(p string) bool { return p == one })
}

// pkg is what go list tells of a package. Imports leaves out those of tests.
type pkg struct {
	ImportPath string
	Standard   bool
	Imports    []string
	Error      *struct{ Err string }
}

// module is the name before all paths of ours.
const module = "relight/"

func TestImports(t *testing.T) {
	for _, finding := range checkImports(rows, listPackages(t)) {
		t.Error(finding)
	}
}

func listPackages(t *testing.T) map[string]pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-deps", "-json=ImportPath,Standard,Imports,Error", "./...")
	cmd.Dir = ".."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	packages := map[string]pkg{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages[p.ImportPath] = p
	}
}

// checkImports returns each breach of a row, with the chain of imports.
func checkImports(rows []row, packages map[string]pkg) []string {
	var findings []string
	for _, path := range slices.Sorted(maps.Keys(packages)) {
		name, ours := strings.CutPrefix(path, module)
		if !ours {
			continue
		}
		chains := reach(path, packages)
		for _, r := range rows {
			if !matches(r.who, name) || matches(r.except, name) {
				continue
			}
			for _, target := range slices.Sorted(maps.Keys(chains)) {
				if refuses(r, target, packages) && !excused(r, chains[target]) {
					findings = append(findings, fmt.Sprintf("%s must not import %s: %s", strings.Join(chains[target], " -> "), target, r.why))
				}
			}
		}
	}
	return findings
}

// reach returns all that a package imports, with the chain of ours that leads
// there: ours to any depth, others only directly.
func reach(path string, packages map[string]pkg) map[string][]string {
	chains := map[string][]string{}
	todo := [][]string{{path}}
	for len(todo) > 0 {
		chain := todo[0]
		todo = todo[1:]
		for _, imported := range packages[chain[len(chain)-1]].Imports {
			isOurs := strings.HasPrefix(imported, module)
			if _, seen := chains[imported]; seen || imported == path || (!isOurs && len(chain) > 1) {
				continue
			}
			chains[imported] = chain
			if isOurs {
				todo = append(todo, append(slices.Clone(chain), imported))
			}
		}
	}
	return chains
}

// excused reports whether the chain passes through a package that may import the
// target itself: its users cannot help that.
func excused(r row, chain []string) bool {
	return slices.ContainsFunc(chain[1:], func(p string) bool { return matches(r.except, strings.TrimPrefix(p, module)) })
}

func refuses(r row, target string, packages map[string]pkg) bool {
	if matches(r.never, target) {
		return true
	}
	name, ours := strings.CutPrefix(target, module)
	switch {
	case ours:
		return matches(r.never, name) || (r.onlyOurs != nil && !matches(r.onlyOurs, name))
	case packages[target].Standard:
		return r.onlyStd != nil && !matches(r.onlyStd, target)
	default:
		return r.onlyThird != nil && !matches(r.onlyThird, target)
	}
}

func matches(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		stem, below := strings.CutSuffix(p, "...")
		stem = strings.TrimSuffix(stem, "/")
		return path == p || (below && (stem == "" || path == stem || strings.HasPrefix(path, stem+"/")))
	})
}

// A table that finds nothing because of a slip in a pattern looks like a clean
// tree, so each row is shown an import that it must refuse.
func TestEveryRowCanFail(t *testing.T) {
	std := pkg{Standard: true}
	for i, r := range rows {
		var bad []string
		bad = append(bad, r.never...)
		if r.onlyOurs != nil {
			bad = append(bad, "internal/elsewhere")
		}
		if r.onlyStd != nil {
			bad = append(bad, "os", "net", "context", "sync", "math/rand/v2", "io/fs", "log")
		}
		if r.onlyThird != nil {
			bad = append(bad, "example.com/third")
		}
		for _, who := range r.who {
			importer := module + strings.TrimSuffix(strings.TrimSuffix(who, "..."), "/") + "x"
			if !strings.HasSuffix(who, "...") {
				importer = module + who
			} else if who != "..." {
				importer = module + strings.TrimSuffix(who, "/...") + "/x"
			}
			for _, target := range bad {
				target = strings.TrimSuffix(target, "/...")
				if strings.HasPrefix(target, "internal/") {
					target = module + target
				}
				packages := map[string]pkg{importer: {Imports: []string{target}}, "os": std, "net": std, "context": std, "sync": std, "math/rand/v2": std, "io/fs": std, "log": std}
				if len(checkImports([]row{r}, packages)) == 0 && !slices.Contains(bad, strings.TrimPrefix(importer, module)) {
					t.Errorf("row %d (%s) lets %s import %s", i, r.why, importer, target)
				}
			}
		}
	}
}

func TestImportsAreFollowedThroughOurs(t *testing.T) {
	packages := map[string]pkg{
		"relight/internal/cli":        {Imports: []string{"relight/internal/api/client"}},
		"relight/internal/api/client": {Imports: []string{"relight/internal/api"}},
		"relight/internal/api":        {Imports: []string{"relight/internal/store", "github.com/danielgtaylor/huma/v2"}},
		"relight/internal/metric":     {Imports: []string{"github.com/prometheus/client_golang/prometheus"}},
		"relight/cmd/relight":         {Imports: []string{"relight/internal/metric", "relight/internal/controller"}},
		"relight/internal/notify":     {Imports: []string{"relight/internal/a"}},
		"relight/internal/a":          {Imports: []string{"relight/internal/controller/heal"}},
	}
	got := checkImports(rows, packages)
	for _, want := range []string{
		"relight/internal/cli -> relight/internal/api/client -> relight/internal/api must not import relight/internal/store",
		"relight/internal/notify -> relight/internal/a must not import relight/internal/controller/heal",
		"relight/internal/a must not import relight/internal/controller/heal",
	} {
		if !slices.ContainsFunc(got, func(f string) bool { return strings.HasPrefix(f, want+":") }) {
			t.Errorf("not found: %s", want)
		}
	}
	for _, finding := range got {
		if strings.HasPrefix(finding, "relight/cmd/") || strings.HasPrefix(finding, "relight/internal/metric") {
			t.Errorf("found what is allowed: %s", finding)
		}
	}
}
