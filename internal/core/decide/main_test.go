package decide_test

import (
	"flag"
	"os"
	"testing"
)

// checks is how many views each property is tried on; rapid's own 100 are too few
// to meet what needs three coincidences.
const checks = "3000"

func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", checks); err != nil {
		panic(err)
	}
	flag.Parse()
	os.Exit(m.Run())
}
