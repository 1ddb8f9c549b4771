package simulate

import (
	"os"
	"strings"
	"testing"
)

const guidePath = "../../docs/guide/simulate.md"

// The guide lists the language as it is. Run with -update to write it.
func TestGuideListsTheLanguage(t *testing.T) {
	const from, to = "<!-- language: kept by a test -->\n", "<!-- end of language -->\n"
	data, err := os.ReadFile(guidePath)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(data), from)
	have, tail, closed := strings.Cut(rest, to)
	if !ok || !closed {
		t.Fatalf("%s lost its marks %q and %q", guidePath, from, to)
	}
	want := "```text\n" + strings.Join(Language(), "\n") + "\n```\n"
	if have == want {
		return
	}
	if !*update {
		t.Fatalf("%s is stale; run go test ./internal/simulate -update", guidePath)
	}
	if err := os.WriteFile(guidePath, []byte(head+from+want+to+tail), 0o600); err != nil {
		t.Fatal(err)
	}
}
