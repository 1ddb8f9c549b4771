package image

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// order finds the modules and all that they depend on below root, each after what
// it depends on. A module that the kernel has built in is no file; it is passed
// over when another depends on it.
func order(root string, names []string) ([]string, error) {
	paths := map[string]string{}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(p, ".ko") {
			paths[canonical(strings.TrimSuffix(d.Name(), ".ko"))] = p
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var out []string
	seen := map[string]bool{}
	var add func(name string) error
	add = func(name string) error {
		name = canonical(name)
		p := paths[name]
		if seen[name] || p == "" {
			return nil
		}
		seen[name] = true
		needs, err := depends(p)
		if err != nil {
			return err
		}
		for _, n := range needs {
			if err := add(n); err != nil {
				return err
			}
		}
		out = append(out, p)
		return nil
	}
	for _, n := range names {
		if paths[canonical(n)] == "" {
			return nil, fmt.Errorf("module %s: %w", n, fs.ErrNotExist)
		}
		if err := add(n); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// canonical: a module's file may have dashes where its name has underscores.
func canonical(name string) string { return strings.ReplaceAll(name, "-", "_") }

// depends reads what a module needs from its own section .modinfo, which holds
// "key=value" strings that end in zeros.
func depends(p string) ([]string, error) {
	f, err := elf.Open(p)
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", filepath.Base(p), err)
	}
	defer func() { _ = f.Close() }()
	s := f.Section(".modinfo")
	if s == nil {
		return nil, fmt.Errorf("module %s has no .modinfo", filepath.Base(p))
	}
	b, err := s.Data()
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", filepath.Base(p), err)
	}
	for word := range bytes.SplitSeq(b, []byte{0}) {
		if list, ok := strings.CutPrefix(string(word), "depends="); ok {
			return slices.DeleteFunc(strings.Split(list, ","), func(s string) bool { return s == "" }), nil
		}
	}
	return nil, nil
}
