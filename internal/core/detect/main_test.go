package detect_test

import (
	"flag"
	"os"
	"testing"
)

// TestMain tries each property on more inputs than rapid's own 100, which are too
// few to meet what needs three coincidences.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "10000"); err != nil {
		panic(err)
	}
	flag.Parse()
	os.Exit(m.Run())
}
