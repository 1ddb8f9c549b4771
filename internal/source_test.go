package internal_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Sizes in lines. Above the first a file is listed, above the second it fails.
const (
	largeFile, tooLargeFile = 500, 800
	tooLongFunc             = 120
)

// source is one Go file of ours.
type source struct {
	path      string // from the root, with slashes
	file      *ast.File
	fset      *token.FileSet
	lines     []string
	generated bool
}

func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }
func (s source) dir() string  { return path.Dir(s.path) }

func (s source) at(pos token.Pos) string {
	return fmt.Sprintf("%s:%d", s.path, s.fset.Position(pos).Line)
}

func (s source) line(pos token.Pos) string { return s.lines[s.fset.Position(pos).Line-1] }

func parseSource(fset *token.FileSet, name string, content []byte) (source, error) {
	file, err := parser.ParseFile(fset, name, content, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return source{}, err
	}
	lines := strings.Split(strings.TrimSuffix(string(content), "\n"), "\n")
	return source{path: name, file: file, fset: fset, lines: lines, generated: ast.IsGenerated(file)}, nil
}

// readSources reads all Go files under cmd and internal, whatever their build
// constraints.
func readSources(t *testing.T) []source {
	t.Helper()
	var sources []source
	fset := token.NewFileSet()
	for _, top := range []string{"cmd", "internal"} {
		err := filepath.WalkDir(filepath.Join("..", top), func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.Name() == "testdata" && d.IsDir() {
				if d != nil && d.IsDir() && err == nil {
					return fs.SkipDir
				}
				return err
			}
			if d.IsDir() || !strings.HasSuffix(file, ".go") {
				return nil
			}
			content, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			name, err := filepath.Rel("..", file)
			if err != nil {
				return err
			}
			s, err := parseSource(fset, filepath.ToSlash(name), content)
			sources = append(sources, s)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return sources
}

// checks look at one file each and return what they find.
var checks = map[string]func(source) []string{
	"init":         checkInit,
	"size":         checkSize,
	"package name": checkPackageName,
	"sleep":        checkSleep,
	"core":         checkCore,
	"wiring":       checkWiring,
}

func TestSources(t *testing.T) {
	sources := readSources(t)
	for name, check := range checks {
		t.Run(name, func(t *testing.T) {
			for _, s := range sources {
				for _, finding := range check(s) {
					t.Error(finding)
				}
			}
		})
	}
	t.Run("doc", func(t *testing.T) {
		for _, finding := range checkDocs(sources) {
			t.Error(finding)
		}
	})
	t.Run("map order", func(t *testing.T) {
		for _, finding := range checkMapOrder(t, sources) {
			t.Error(finding)
		}
	})
	for _, s := range sources {
		if n := len(s.lines); n > largeFile && !s.generated {
			t.Logf("%s has %d lines", s.path, n)
		}
	}
}

// checkInit: registries that fill themselves hide what a program is made of. A
// test binary may need one, to keep main on the process's first thread.
func checkInit(s source) []string {
	if s.isTest() {
		return nil
	}
	var findings []string
	for _, d := range s.file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
			findings = append(findings, s.at(f.Pos())+": init function; use a constructor that is called")
		}
	}
	return findings
}

func checkSize(s source) []string {
	if s.generated {
		return nil
	}
	var findings []string
	if n := len(s.lines); n > tooLargeFile {
		findings = append(findings, fmt.Sprintf("%s: %d lines, at most %d", s.path, n, tooLargeFile))
	}
	for _, d := range s.file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if n := s.fset.Position(f.End()).Line - s.fset.Position(f.Pos()).Line + 1; n > tooLongFunc {
			findings = append(findings, fmt.Sprintf("%s: %s has %d lines, at most %d", s.at(f.Pos()), f.Name.Name, n, tooLongFunc))
		}
	}
	return findings
}

func checkPackageName(s source) []string {
	switch name := strings.TrimSuffix(s.file.Name.Name, "_test"); name {
	case "util", "utils", "common", "helper", "helpers", "base", "manager", "types", "misc", "shared":
		return []string{fmt.Sprintf("%s: package %s says nothing; use a word of the glossary", s.path, name)}
	}
	return nil
}

// checkSleep: a test that sleeps is slow where it passes and fails where it is
// slow. Within the call of synctest.Test time is virtual, and Sleep moves it.
func checkSleep(s source) []string {
	if !s.isTest() {
		return nil
	}
	var bubbles []ast.Node
	ast.Inspect(s.file, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Test" {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "synctest" {
					bubbles = append(bubbles, call)
				}
			}
		}
		return true
	})
	return uses(s, "time", []string{"Sleep"}, "use testing/synctest, a channel or a ticker with a deadline", bubbles...)
}

// checkCore: the core gets time as a value and starts nothing.
func checkCore(s source) []string {
	if !inCore(s) || s.isTest() {
		return nil
	}
	clock := []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTimer", "NewTicker"}
	findings := uses(s, "time", clock, "the core gets the time as a value")
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			findings = append(findings, s.at(n.Pos())+": go statement in the core")
		case *ast.ChanType:
			findings = append(findings, s.at(n.Pos())+": channel in the core")
		case *ast.SelectStmt:
			findings = append(findings, s.at(n.Pos())+": select in the core")
		}
		return true
	})
	return findings
}

// checkWiring: in the controller only the file wire.go names adapters.
func checkWiring(s source) []string {
	if !strings.HasPrefix(s.path, "internal/controller/") || s.isTest() || path.Base(s.path) == "wire.go" {
		return nil
	}
	var findings []string
	for _, i := range s.file.Imports {
		name := strings.TrimPrefix(strings.Trim(i.Path.Value, `"`), module)
		if matches(append([]string{"internal/world/..."}, adapters...), name) {
			findings = append(findings, fmt.Sprintf("%s: the adapter %s is named outside wire.go", s.at(i.Pos()), name))
		}
	}
	return findings
}

func inCore(s source) bool { return strings.HasPrefix(s.path, "internal/core/") }

// uses finds selections of the names from the package that is imported by path,
// but for those inside the nodes to leave out.
func uses(s source, from string, names []string, why string, leaveOut ...ast.Node) []string {
	local := ""
	for _, i := range s.file.Imports {
		if strings.Trim(i.Path.Value, `"`) == from {
			local = path.Base(from)
			if i.Name != nil {
				local = i.Name.Name
			}
		}
	}
	if local == "" {
		return nil
	}
	if local == "." {
		return []string{s.path + ": dot import of " + from}
	}
	var findings []string
	ast.Inspect(s.file, func(n ast.Node) bool {
		if slices.Contains(leaveOut, n) {
			return false
		}
		sel, ok := n.(*ast.SelectorExpr)
		if !ok || !slices.Contains(names, sel.Sel.Name) {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && x.Name == local {
			findings = append(findings, fmt.Sprintf("%s: %s.%s; %s", s.at(n.Pos()), from, sel.Sel.Name, why))
		}
		return true
	})
	return findings
}

// checkDocs: a package without a sentence about itself has no reason to be.
func checkDocs(sources []source) []string {
	documented := map[string]bool{}
	for _, s := range sources {
		if !s.isTest() {
			documented[s.dir()] = documented[s.dir()] || strings.TrimSpace(s.file.Doc.Text()) != ""
		}
	}
	var findings []string
	for dir, ok := range documented {
		if !ok {
			findings = append(findings, dir+": the package has no doc comment")
		}
	}
	slices.Sort(findings)
	return findings
}

// checkMapOrder: a range over a map in the core must say, in a comment that
// starts with "// order:" on its line, why the order reaches no result.
func checkMapOrder(t *testing.T, sources []source) []string {
	t.Helper()
	byDir := map[string][]source{}
	for _, s := range sources {
		if inCore(s) && !s.isTest() {
			byDir[s.dir()] = append(byDir[s.dir()], s)
		}
	}
	r := &resolver{t: t, byDir: byDir, done: map[string]*types.Package{}, std: importer.Default()}
	for dir := range byDir {
		if _, err := r.Import(module + dir); err != nil {
			t.Errorf("%s cannot be type-checked: %v", dir, err)
		}
	}
	slices.Sort(r.findings)
	return r.findings
}

// resolver type-checks packages of the core from their parsed files, each after
// those that it imports, and looks at their range statements.
type resolver struct {
	t        *testing.T
	byDir    map[string][]source
	done     map[string]*types.Package
	std      types.Importer
	findings []string
}

// Import implements types.Importer.
func (r *resolver) Import(name string) (*types.Package, error) {
	sources, ours := r.byDir[strings.TrimPrefix(name, module)]
	if !ours {
		return r.std.Import(name)
	}
	if p, ok := r.done[name]; ok {
		return p, nil
	}
	var files []*ast.File
	for _, s := range sources {
		files = append(files, s.file)
	}
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	conf := types.Config{Importer: r}
	p, err := conf.Check(name, sources[0].fset, files, info)
	r.done[name] = p
	for _, s := range sources {
		r.findings = append(r.findings, unordered(s, info)...)
	}
	return p, err
}

func unordered(s source, info *types.Info) []string {
	var findings []string
	ast.Inspect(s.file, func(n ast.Node) bool {
		loop, ok := n.(*ast.RangeStmt)
		if !ok || info.Types[loop.X].Type == nil {
			return true
		}
		if yieldsMapOrder(loop.X, info) && !strings.Contains(s.line(loop.Pos()), "// order:") {
			findings = append(findings, s.at(loop.Pos())+": range over a map in the core; sort the keys, or say why not with // order:")
		}
		return true
	})
	return findings
}

// yieldsMapOrder reports whether x is a map, or maps.Keys, Values or All of one.
func yieldsMapOrder(x ast.Expr, info *types.Info) bool {
	if call, ok := x.(*ast.CallExpr); ok {
		if sel, ok := call.Fun.(*ast.SelectorExpr); ok {
			if from, ok := sel.X.(*ast.Ident); ok && from.Name == "maps" {
				return true
			}
		}
	}
	switch u := info.Types[x].Type.Underlying().(type) {
	case *types.Map:
		return true
	case *types.Interface: // the constraint of a type parameter
		return strings.Contains(u.String(), "map[")
	}
	return false
}

func TestNoReplace(t *testing.T) {
	for _, file := range []string{"../go.mod", "../tools/go.mod"} {
		out, err := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json", file).Output()
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if finding := checkReplace(out); finding != "" {
			t.Errorf("%s: %s", file, finding)
		}
	}
}

// checkReplace: a module with replacements cannot be installed by name.
func checkReplace(mod []byte) string {
	var m struct{ Replace []json.RawMessage }
	if err := json.Unmarshal(mod, &m); err != nil {
		return err.Error()
	}
	if len(m.Replace) > 0 {
		return fmt.Sprintf("replaces %s", bytes.Join([][]byte{m.Replace[0]}, nil))
	}
	return ""
}
