package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// buildTags are those of the whole project: others would compile everything anew.
const buildTags = "lambda.norpc"

// overlay writes the patched files and the list that has the compiler read them in
// place of the project's own. Nothing in the source tree changes.
func overlay(root, dir string, p patch) (string, error) {
	files, err := p.patched(root)
	if err != nil {
		return "", err
	}
	list := struct{ Replace map[string]string }{map[string]string{}}
	for path, text := range files { // each is a file of its own
		file := filepath.Join(dir, strings.ReplaceAll(path, "/", "__"))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return "", err
		}
		list.Replace[filepath.Join(root, path)] = file
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, raw, 0o600)
}

// goRun runs the go command in the root of the project.
func goRun(ctx context.Context, root string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root
	return cmd.CombinedOutput()
}

// buildHunter builds this very program with the patch in it.
func buildHunter(ctx context.Context, root, dir, overlay string) (string, error) {
	file := filepath.Join(dir, "hunter")
	out, err := goRun(ctx, root, "build", "-tags", buildTags, "-ldflags=-s -w", "-overlay", overlay, "-o", file, "./internal/simulate/planted")
	if err != nil {
		return "", fmt.Errorf("it does not build: %w\n%s", err, out)
	}
	return file, nil
}

// findRoot returns the directory of the project's go.mod, from the present one up.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("there is no go.mod here or above")
		}
		dir = up
	}
}
