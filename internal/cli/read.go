package cli

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
)

// load reads files, directories (their .yaml, .yml and .json files, not below)
// and standard input ("-"), and parses them together.
func (a *app) load(cmd *cobra.Command, paths []string) ([]client.Document, error) {
	if len(paths) == 0 {
		return nil, usage(cmd, "a file is needed: -f FILE, -f DIRECTORY or -f -")
	}
	var files []SourceFile
	for _, p := range paths {
		more, err := a.read(p)
		if err != nil {
			return nil, err
		}
		files = append(files, more...)
	}
	if len(files) == 0 {
		return nil, client.NewProblem(client.CodeInvalidDocument, "no .yaml, .yml or .json file in %s", strings.Join(paths, ", "))
	}
	docs, err := a.parse(files)
	if err != nil {
		return nil, err
	}
	// What others name comes first, so that one apply declares a whole fleet.
	slices.SortStableFunc(docs, func(x, y client.Document) int {
		return slices.Index(client.Kinds(), x.Kind) - slices.Index(client.Kinds(), y.Kind)
	})
	return docs, nil
}

func (a *app) read(path string) ([]SourceFile, error) {
	if path == "-" {
		data, err := io.ReadAll(a.In)
		if err != nil {
			return nil, client.NewProblem(client.CodeBadRequest, "cannot read standard input: %v", err)
		}
		return []SourceFile{{Name: "stdin", Data: data}}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	names := []string{path}
	if info.IsDir() {
		if names, err = documentsIn(path); err != nil {
			return nil, unreadable(path, err)
		}
	}
	var out []SourceFile
	for _, n := range names {
		data, err := os.ReadFile(n)
		if err != nil {
			return nil, unreadable(n, err)
		}
		out = append(out, SourceFile{Name: n, Data: data})
	}
	return out, nil
}

func unreadable(path string, err error) error {
	return client.NewProblem(client.CodeBadRequest, "cannot read %s: %v", path, err).WithNext("ls %s", filepath.Dir(path))
}

func documentsIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		isDoc := slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(e.Name()))
		if isDoc && !e.IsDir() && e.Type()&fs.ModeNamedPipe == 0 {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	return out, nil
}
