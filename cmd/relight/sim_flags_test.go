package main

import (
	"strings"
	"testing"

	"relight/internal/api/client"
)

// A flag that would do nothing is refused in one line, with what to type, and nothing is
// run: what is on standard output would pass for the answer.
func TestSimRefusesWhatItWouldIgnore(t *testing.T) {
	for args, want := range map[string]string{
		"run --fault az-loss":                   "relight sim run --servers 10000 --fault az-loss",
		"run --seeds 2 --fault half":            "relight sim run --servers 10000 --fault half",
		"run --servers 100 --seeds 2":           "relight sim run --servers 100\n",
		"run --servers 100 --minutes 1":         "relight sim run --servers 100\n",
		"run --servers 100 --workers 2":         "relight sim run --servers 100\n",
		"run --servers 100 --stories .":         "relight sim run --servers 100\n",
		"run --servers 5 --seeds 2":             "relight sim run --servers 100\n",
		"run --servers 0":                       "relight sim run --servers 100\n",
		"run --servers -3":                      "relight sim run --servers 100\n",
		"run --servers 200 --fault az":          "there are none, az-loss, half, rack, api-brownout (RELIGHT-E1001)\nnext: relight sim run --servers 200 --fault az-loss",
		"run --seeds 0":                         "relight sim run --seeds 1000",
		"run --minutes 0":                       "relight sim run --minutes 10",
		"run --minutes -1":                      "relight sim run --minutes 10",
		"run --seeds 2 --workers 0":             "relight sim run --seeds 1000",
		"run --seed 4 --workers 2":              "relight sim run --seed 4\n",
		"run --seeds 2 --stories no/such/place": "next: mkdir -p no/such/place",
		"run --seeds 2 -o json":                 "--output does nothing here",
		"run --server 1000":                     "--server does nothing here",
		"play --context prod story.txtar":       "--context does nothing here",
		"faults --ca x":                         "next: relight sim faults --help",
		"what-if -f a --lose b --links peers":   "relight sim what-if -f FILE --lose HOST --cut --links peers",
		"what-if -f a --lose b --units 0":       "--units is at least 1, not 0",
		"what-if -f a --lose b --token-file x":  "--token-file does nothing here",
		"rum":                                   `unknown command "rum" for "relight sim"`,
	} {
		code, out, errs := sim(t.Context(), strings.Fields(args)...)
		if code != client.ExitUsage || out != "" || !strings.Contains(errs, want) {
			t.Errorf("%s: exit %d: %s%s\nwant %s", args, code, out, errs, want)
		}
	}
}
