package lio

import (
	"os"
	"path/filepath"
	"strings"
)

// Tree is a configfs tree. Paths are relative to its root, with slashes. Errors are
// those of package os, so that errors.Is tells fs.ErrExist and fs.ErrNotExist.
type Tree interface {
	Mkdir(path string) error
	// Rmdir fails on a directory in which somebody made something.
	Rmdir(path string) error
	// Symlink makes path point to the object at target.
	Symlink(target, path string) error
	Unlink(path string) error
	// Readlink is where a link leads to, with the object's own path at its end.
	Readlink(path string) (string, error)
	Write(path, text string) error
	Read(path string) (string, error)
	// List names what is in a directory.
	List(path string) ([]string, error)
}

// Root is the tree below a directory, such as /sys/kernel/config/target.
type Root string

func (r Root) at(path string) string { return filepath.Join(string(r), filepath.FromSlash(path)) }

// Mkdir implements Tree.
func (r Root) Mkdir(path string) error { return os.Mkdir(r.at(path), 0o750) }

// Rmdir implements Tree.
func (r Root) Rmdir(path string) error { return os.Remove(r.at(path)) }

// Symlink implements Tree.
func (r Root) Symlink(target, path string) error { return os.Symlink(r.at(target), r.at(path)) }

// Unlink implements Tree.
func (r Root) Unlink(path string) error { return os.Remove(r.at(path)) }

// Readlink implements Tree.
func (r Root) Readlink(path string) (string, error) { return os.Readlink(r.at(path)) }

// Write implements Tree. It makes no file: a missing one means another kernel. No line
// feed follows the text: the kernel would take it for a part of a name or a secret.
func (r Root) Write(path, text string) error {
	f, err := os.OpenFile(r.at(path), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if end := f.Close(); err == nil {
		err = end
	}
	return err
}

// Read implements Tree.
func (r Root) Read(path string) (string, error) {
	b, err := os.ReadFile(r.at(path))
	return strings.TrimSpace(string(b)), err
}

// List implements Tree.
func (r Root) List(path string) ([]string, error) {
	entries, err := os.ReadDir(r.at(path))
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}
