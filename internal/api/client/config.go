package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// File is a client.json: how to reach engines, by name. It holds no secret,
// only where the secrets lie.
type File struct {
	Current  string             `json:"current,omitempty"`
	Contexts map[string]Context `json:"contexts"`
}

// Context is one engine in a client.json. Relative paths are relative to the
// file.
type Context struct {
	Server    string `json:"server"`
	TokenFile string `json:"tokenFile,omitempty"`
	CA        string `json:"ca,omitempty"`
}

// ReadFile reads a client.json. A file that does not exist reads as empty.
func ReadFile(path string) (File, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return File{}, nil
	}
	if err != nil {
		return File{}, fmt.Errorf("read client configuration: %w", err)
	}
	var f File
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return File{}, NewProblem(CodeBadRequest, "%s: %v", path, err)
	}
	dir := filepath.Dir(path)
	for name, c := range f.Contexts {
		c.TokenFile, c.CA = beside(dir, c.TokenFile), beside(dir, c.CA)
		f.Contexts[name] = c
	}
	return f, nil
}

func beside(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// WriteFile writes a client.json, readable by its owner only, in one rename so
// that a reader never sees half of it.
func WriteFile(path string, f File) error {
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Errorf("write client configuration: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("write client configuration: %w", err)
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("write client configuration: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write client configuration: %w", err)
	}
	return nil
}

// Config reads the files that a context names.
func (c Context) Config() (Config, error) {
	cfg := Config{Server: c.Server}
	if c.TokenFile != "" {
		data, err := os.ReadFile(c.TokenFile)
		if err != nil {
			return Config{}, NewProblem(CodeUnauthenticated, "cannot read the token: %v", err)
		}
		cfg.Token = strings.TrimSpace(string(data))
	}
	if c.CA != "" {
		data, err := os.ReadFile(c.CA)
		if err != nil {
			return Config{}, NewProblem(CodeBadRequest, "cannot read the CA: %v", err)
		}
		cfg.CA = data
	}
	return cfg, nil
}
