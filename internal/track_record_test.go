package internal_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTrackRecordIsTrue keeps docs/track-record.md true: each mistake names a test or a
// story that shows it still, and each that it names is there.
func TestTrackRecordIsTrue(t *testing.T) {
	text, err := os.ReadFile("../docs/track-record.md")
	if err != nil {
		t.Fatal(err)
	}
	tests, stories := namesOfTests(t), map[string]bool{}
	for _, dir := range []string{"simulate/testdata/found", "simulate/testdata/stories", "core/decide/testdata/stories", "core/detect/testdata"} {
		files, err := filepath.Glob(dir + "/*.txt*")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no stories: %v", dir, err)
		}
		for _, f := range files {
			stories[strings.TrimSuffix(filepath.Base(f), filepath.Ext(f))] = true
		}
	}
	rows := 0
	_, table, _ := strings.Cut(string(text), "| mistake | found by |")
	table, _, _ = strings.Cut(table, "\n\n")
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if len(cells) < 4 || strings.HasPrefix(cells[0], "---") {
			continue
		}
		rows++
		by := cells[len(cells)-1]
		named := regexp.MustCompile("`(Test[A-Za-z0-9_]+)").FindAllStringSubmatch(by, -1)
		for _, n := range named {
			if !tests[n[1]] {
				t.Errorf("there is no test %s:%s", n[1], line)
			}
		}
		told := regexp.MustCompile(`(story \x60?)?\b[a-z0-9]+(_[a-z0-9]+)+\b|story \x60?[a-z]+`).FindAllStringSubmatch(by, -1)
		for _, s := range told {
			if name := strings.Trim(strings.TrimPrefix(s[0], "story "), "`"); !stories[name] {
				t.Errorf("there is no story %s:%s", name, line)
			}
		}
		if len(named)+len(told) == 0 {
			t.Errorf("nothing shows it:%s", line)
		}
	}
	if rows < 100 {
		t.Errorf("the table has %d rows", rows)
	}
}
