package controller

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"relight/internal/api"
	"relight/internal/api/client"
)

// People are those who may call the API: one file NAME.token each in a
// directory that only the controller's user can read. Adding a file lets a
// person in, removing it shuts them out, at once.
type People struct{ dir string }

// adminName is the person whose token a fresh controller makes.
const adminName = "admin"

// OpenPeople makes the directory and the administrator's token if they are not there.
func OpenPeople(dir string) (*People, error) {
	p := &People{dir: dir}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the people's directory: %w", err)
	}
	if _, err := os.Stat(p.Admin()); errors.Is(err, fs.ErrNotExist) {
		if _, err := AddPerson(dir, adminName); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Admin is the path of the administrator's token.
func (p *People) Admin() string { return filepath.Join(p.dir, adminName+".token") }

// AddPerson makes a token for a person and returns the path of its file.
func AddPerson(dir, name string) (string, error) {
	if name == "" || strings.ContainsAny(name, "/\\ \t\n.") {
		return "", fmt.Errorf("%q is not a person's name: letters, digits and dashes only", name)
	}
	var secret [24]byte
	if _, err := rand.Read(secret[:]); err != nil {
		return "", fmt.Errorf("make a token for %s: %w", name, err)
	}
	path := filepath.Join(dir, name+".token")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", fmt.Errorf("make a token for %s: %w", name, err)
	}
	_, err = f.WriteString(hex.EncodeToString(secret[:]) + "\n")
	return path, errors.Join(err, f.Close())
}

// Authenticate implements api.Authenticator.
func (p *People) Authenticate(_ context.Context, token string) (api.Person, error) {
	files, err := os.ReadDir(p.dir)
	if err != nil {
		return api.Person{}, fmt.Errorf("read the people's directory: %w", err)
	}
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), ".token")
		if !ok {
			continue
		}
		want, err := os.ReadFile(filepath.Join(p.dir, f.Name()))
		if err != nil {
			continue
		}
		have := []byte(strings.TrimSpace(string(want)))
		if len(have) >= 32 && subtle.ConstantTimeCompare(have, []byte(token)) == 1 {
			return api.Person{Name: name}, nil
		}
	}
	return api.Person{}, client.NewProblem(client.CodeUnauthenticated, "the token is not known")
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// sans are the names and addresses that people dial.
func sans(advertise string, addr net.Addr) []string {
	out := []string{"localhost", "127.0.0.1", "::1"}
	if advertise != "" {
		out = append(out, advertise)
	}
	if host, _, err := net.SplitHostPort(addr.String()); err == nil && !net.ParseIP(host).IsUnspecified() {
		out = append(out, host)
	}
	if name, err := os.Hostname(); err == nil {
		out = append(out, name)
	}
	return out
}
