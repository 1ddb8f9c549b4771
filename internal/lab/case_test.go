package lab_test

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"relight/internal/lab"
)

// enter puts a server on a lab of the test's own.
func enter(t *testing.T, name string, change ...func(*lab.Options)) *lab.Stage {
	t.Helper()
	l := up(t, name, change...)
	s, err := lab.Enter(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// play plays a case; a failure is explained by what the engine says, because the lab
// is gone afterwards.
func play(t *testing.T, s *lab.Stage, c lab.Case) lab.Result {
	t.Helper()
	r, err := s.Play(t.Context(), c)
	if err != nil {
		var why strings.Builder
		s.Explain(&why)
		t.Fatalf("%v\n%s", err, why.String())
	}
	t.Log(r)
	return r
}

// TestCases plays every case once, and the zombie three times, on one lab: a real
// virtual machine writes to a real LUN all the time. RELIGHT_LAB names cases to play
// instead.
func TestCases(t *testing.T) {
	s := enter(t, "e")
	only := strings.Fields(os.Getenv("RELIGHT_LAB"))
	list := lab.Cases()
	for _, c := range lab.Cases() {
		if c.Name == "zombie" {
			list = append(list, c, c)
		}
	}
	for _, c := range list {
		if c.Needs != lab.AnyLab || len(only) > 0 && !slices.Contains(only, c.Name) {
			continue
		}
		if !t.Run(c.Name, func(t *testing.T) { play(t, s, c) }) {
			t.FailNow() // what follows would be blamed for it
		}
	}
}

// TestThreeControllers loses the controller that acts, with its member of the store, in
// the middle of a recovery: another one ends it.
func TestThreeControllers(t *testing.T) {
	s := enter(t, "t", func(o *lab.Options) { o.Several = true })
	c, err := lab.FindCase("three-controllers")
	if err != nil {
		t.Fatal(err)
	}
	play(t, s, c)
}

// TestTwoServers loses two servers with one host: they come back in their order, and where
// there is room for one the more important one does.
func TestTwoServers(t *testing.T) {
	s := enter(t, "w")
	c, err := lab.FindCase("two-servers")
	if err != nil {
		t.Fatal(err)
	}
	play(t, s, c)
}

// TestSoak plays the zombie RUNS times.
func TestSoak(t *testing.T) {
	runs, err := strconv.Atoi(os.Getenv("RUNS"))
	if err != nil {
		t.Skip("RUNS says how often; make soak RUNS=100")
	}
	need(t)
	var out strings.Builder
	err = lab.Run(t.Context(), lab.RunOptions{Options: lab.Options{Name: "s" + strconv.Itoa(os.Getpid()%100000), Exe: exe}, Cases: []string{"zombie"}, Runs: runs, Out: &out})
	t.Log(out.String())
	if want := "runs=" + strconv.Itoa(runs) + " lost=0 stale=0\n"; err != nil || !strings.HasSuffix(out.String(), want) {
		t.Errorf("%v, want %q at the end", err, want)
	}
}

// TestCasesAreNamed: the guide tells of each case, and of none that is not there.
func TestCasesAreNamed(t *testing.T) {
	guide, err := os.ReadFile("../../docs/guide/lab.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(guide), "\n## Cases\n")
	table, _, _ = strings.Cut(table, "\n## ")
	var told, want []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|").FindAllStringSubmatch(table, -1) {
		told = append(told, row[1])
	}
	for _, c := range lab.Cases() {
		want = append(want, c.Name)
		if found, err := lab.FindCase(c.Name); err != nil || found.Title != c.Title || c.Title == "" {
			t.Errorf("case %s: found %q, %v", c.Name, found.Title, err)
		}
	}
	slices.Sort(told)
	slices.Sort(want)
	if !slices.Equal(told, want) {
		t.Errorf("the guide tells of the cases %v, want %v", told, want)
	}
	if _, err := lab.FindCase("sunshine"); err == nil {
		t.Error("a case that is not there was found")
	}
}
