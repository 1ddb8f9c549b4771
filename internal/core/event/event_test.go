package event_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"

	"relight/internal/core/event"
)

// TestKindsListsEveryKind reads the declarations: a fact that is missing from the
// list would be missing from audit, metrics and the API's schema too.
func TestKindsListsEveryKind(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "event.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var declared []event.Kind
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); !ok || name.Name != "Kind" {
			return true
		}
		text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		declared = append(declared, event.Kind(text))
		return true
	})
	if !slices.Equal(declared, event.Kinds()) {
		t.Fatalf("declared %v\nlisted   %v", declared, event.Kinds())
	}
	seen := map[event.Kind]bool{}
	for _, k := range event.Kinds() {
		if seen[k] {
			t.Errorf("%s is listed twice", k)
		}
		seen[k] = true
	}
}
