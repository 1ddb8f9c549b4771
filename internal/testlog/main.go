// Testlog runs "go test -json" with the arguments that it is given, and shows a line for
// each package, what failed tests printed, and at the end which tests were skipped because
// something is not on this machine. Plain "go test" tells nobody of the latter, so that a
// machine on which no virtual machine can run looks like one on which all of them worked.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

func main() {
	cmd := exec.Command("go", append([]string{"test", "-json"}, os.Args[1:]...)...) //nolint:gosec,noctx // what make asks for
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	show(out, os.Stdout)
	var exit *exec.ExitError
	switch err := cmd.Wait(); {
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// event is one line of "go test -json".
type event struct{ Action, Package, Test, Output string }

// skipped begins the reason of a test that wants something which is not here.
const skipped = "SKIPPED: "

// log is what is known of one package under test.
type log struct {
	lines  []event
	failed map[string]bool // by test
	ended  map[string]bool
}

// show reads events and writes what people want to know.
func show(in io.Reader, to io.Writer) {
	logs := map[string]*log{}
	var missing []string
	for s := lines(in); s.Scan(); {
		var e event
		if err := json.Unmarshal(s.Bytes(), &e); err != nil {
			_, _ = fmt.Fprintln(to, s.Text()) // not of a test
			continue
		}
		if e.Action == "build-output" {
			_, _ = io.WriteString(to, e.Output)
			continue
		}
		l := logs[e.Package]
		if l == nil {
			l = &log{failed: map[string]bool{}, ended: map[string]bool{}}
			logs[e.Package] = l
		}
		switch {
		case e.Action == "output":
			l.lines = append(l.lines, e)
			if _, why, ok := strings.Cut(e.Output, skipped); ok {
				missing = append(missing, fmt.Sprintf("%s %s: %s", e.Package, e.Test, strings.TrimSpace(why)))
			}
		case e.Test != "":
			l.failed[e.Test] = e.Action == "fail"
			l.ended[e.Test] = l.ended[e.Test] || e.Action != "run" && e.Action != "pause" && e.Action != "cont"
		case e.Action == "pass" || e.Action == "fail" || e.Action == "skip":
			l.tell(to, e.Action == "fail")
			delete(logs, e.Package)
		}
	}
	slices.Sort(missing)
	for _, m := range slices.Compact(missing) {
		_, _ = fmt.Fprintln(to, "SKIPPED", m)
	}
}

// lines are as long as tests print them.
func lines(in io.Reader) *bufio.Scanner {
	s := bufio.NewScanner(in)
	s.Buffer(nil, 64<<20)
	return s
}

// tell prints what "go test" would: of a package that passed its last line, of one that
// failed all that belongs to no test, to a failed one or to one that never ended.
func (l *log) tell(to io.Writer, failed bool) {
	for _, e := range l.lines {
		verdict := e.Test == "" && e.Output != "PASS\n"
		if !failed {
			verdict = verdict && (strings.HasPrefix(e.Output, "ok ") || strings.HasPrefix(e.Output, "? "))
		}
		if verdict || failed && e.Test != "" && (l.failed[e.Test] || !l.ended[e.Test]) {
			_, _ = io.WriteString(to, e.Output)
		}
	}
}
