package internal_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// mechanisms are the rows that docs/design/mechanisms.md must have.
var mechanisms = strings.Fields(`
OP-TRIG OP-GUARD OP-LT OP-RUN OP-IPXE OP-DATA OP-IQN OP-NOTIFY OP-MAINT OP-NETID OP-POST OP-FAILBACK OP-DRILL OP-CLEAN OP-SNAP OP-AUDIT OP-SVCLINK OP-N+1
DET-SYS DET-INST DET-EBS DET-APP DET-HOST DET-LINK DET-ALARM
AH-NET AH-VOL AH-ASG1 AH-LC AH-MOUNT AH-HOOK AH-RULE AH-ATTACH AH-EIP AH-SCALEUP AH-IAM AH-ELB AH-METRICS AH-GEN AH-DEL`)

// unsimulated are the rows of what the world of the simulator does not have. Each other
// one, all that concern detection, fencing, relaunch and guards among them, names a story.
var unsimulated = strings.Fields(`OP-LT OP-IPXE OP-DRILL DET-ALARM AH-NET AH-LC AH-IAM AH-METRICS`)

// TestMechanismsAreTested keeps the table of mechanisms true: each row is there, each
// test and story that it names exists, a row without one says why, and each OP row has a
// test that is named after it.
func TestMechanismsAreTested(t *testing.T) {
	text, err := os.ReadFile("../docs/design/mechanisms.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := namesOfTests(t)
	var rows []string
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 3 || !strings.Contains(cells[0], "-") || strings.HasPrefix(cells[0], "---") {
			continue
		}
		row := strings.TrimSpace(cells[0])
		rows = append(rows, row)
		named := regexp.MustCompile("`(Test[A-Za-z0-9_]+)`").FindAllStringSubmatch(cells[2], -1)
		for _, n := range named {
			if !tests[n[1]] {
				t.Errorf("%s: there is no test %s", row, n[1])
			}
		}
		if after := "Test" + strings.NewReplacer("-", "_", "+", "PLUS").Replace(row); strings.HasPrefix(row, "OP-") && !slices.ContainsFunc(named, func(n []string) bool { return n[1] == after || strings.HasPrefix(n[1], after+"_") }) {
			t.Errorf("%s: no test of the row is named after it: %v", row, named)
		}
		stories := regexp.MustCompile(`[a-z]+(_[a-z0-9]+)+`).FindAllString(regexp.MustCompile("`[^`]*`").ReplaceAllString(cells[2], ""), -1)
		for _, s := range stories {
			if _, err := os.Stat("simulate/testdata/stories/" + s + ".txtar"); err != nil {
				t.Errorf("%s: there is no story %s", row, s)
			}
		}
		says := regexp.MustCompile(`\bunsimulated\b`).MatchString(cells[2])
		if says != slices.Contains(unsimulated, row) || says == (len(stories) > 0) {
			t.Errorf("%s names the stories %v and says unsimulated: %v; the test knows as unsimulated %v", row, stories, says, unsimulated)
		}
		if len(named)+len(stories) == 0 && !strings.Contains(cells[1], "not built") && !strings.Contains(cells[1], "none:") {
			t.Errorf("%s has no test and does not say why", row)
		}
	}
	if !slices.Equal(rows, mechanisms) {
		t.Errorf("the rows are %v, want %v", rows, mechanisms)
	}
}

// namesOfTests are the names of all tests of the tree.
func namesOfTests(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	pattern := regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9_]+)\(t \*testing\.T\)`)
	err := filepath.WalkDir("..", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range pattern.FindAllSubmatch(text, -1) {
			found[string(m[1])] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
