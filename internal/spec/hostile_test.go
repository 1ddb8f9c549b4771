package spec

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// TestHostileInputCostsBoundedMemory feeds the parser what is small to send and
// could be large to hold. A request's body goes through the same code.
func TestHostileInputCostsBoundedMemory(t *testing.T) {
	const most = 256 << 20
	n := maxDocument - 200
	fill := func(s string) string { return strings.Repeat(s, n/len(s)) }
	var unknown strings.Builder
	for i := range maxParts / 3 {
		fmt.Fprintf(&unknown, "f%d: 1\n", i)
	}
	inputs := map[string]string{
		"comments.yaml": fill("#a\n"), "commas.yaml": "[" + strings.Repeat("a,", maxParts-9), "dashes.yaml": strings.Repeat("- ", maxParts-9),
		"questions.yaml": strings.Repeat("? ", maxParts-9), "colons.yaml": fill("a:"), "key.yaml": fill("a") + ": b",
		"quoted.yaml": `"` + fill(`\n`), "anchors.yaml": fill("&a "), "tags.yaml": fill("!a "), "spaces.yaml": fill(" "),
		"tabs.yaml": "a:" + fill("\t"), "aliases.yaml": fill("*a "), "commented.yaml": strings.Repeat("# c\na: b\n", maxParts/3-9),
		"unknown.yaml": "kind: Server\n" + unknown.String(), "nested.yaml": strings.Repeat("{a: ", 9000),
		"markers.yaml": fill("---\n"), "dots.yaml": fill("...\n"),
		"env.yaml":   "kind: Server\nspec: {template: {process: {env: {" + strings.Repeat("A: b,", maxParts/2-9) + "}}}}",
		"bomb.yaml":  "a: &a [x]\n" + strings.Repeat("b: &b [*a,*a,*a,*a,*a,*a,*a,*a]\n", 20),
		"array.json": "[" + fill("1,"), "stream.json": fill(`{"a":1}`), "fields.json": `{"kind":"Server","spec":{` + fill(`"a":1,`),
		"string.json": `{"a":"` + fill(`\u0041`),
	}
	for name, body := range inputs {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Parse(File{name, []byte(body)})
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > most {
			t.Errorf("%s: %d MB for %d MB", name, used>>20, len(body)>>20)
		}
		if ps := err.(Problems); len(ps) > maxProblems {
			t.Errorf("%s: %d problems", name, len(ps))
		}
	}
}
