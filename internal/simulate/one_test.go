package simulate

import (
	"os"
	"strconv"
	"testing"

	"relight/internal/core/decide"
)

// SEED=n WATCH=server go test -run TestOne -v shows one seed whole, with every
// decision about one server.
func TestOne(t *testing.T) {
	seed, err := strconv.ParseUint(os.Getenv("SEED"), 10, 64)
	if err != nil {
		t.Skip("SEED is not set")
	}
	e, err := newEngine(Random(seed))
	if err != nil {
		t.Fatal(err)
	}
	if name := os.Getenv("WATCH"); name != "" {
		e.watch = func(server string, d decide.Decision, err error) {
			if server == name {
				gate := ""
				if d.Hold != nil {
					gate = d.Hold.Gate
				}
				e.line("decides", server+": "+d.Reason+" ["+gate+"; look again in "+d.LookAgainAt.Sub(e.clock.Now()).String()+"]")
			}
		}
	}
	r, err := e.play()
	t.Logf("%v\n%s%s%s", err, e.sc.World(), e.sc.Spec, r.Print())
}
