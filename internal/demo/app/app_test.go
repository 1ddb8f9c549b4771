package app

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func opened(t *testing.T, dir string) *log {
	t.Helper()
	l, err := open(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.file.Close() })
	return l
}

func records(t *testing.T, dir string) []Record {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, LogName))
	if err != nil {
		t.Fatal(err)
	}
	var out []Record
	for len(data) >= RecordSize {
		r, err := Decode(data[:RecordSize])
		if err != nil {
			t.Fatal(err)
		}
		out, data = append(out, r), data[RecordSize:]
	}
	return out
}

func TestRecordsAreReadBack(t *testing.T) {
	writer, err := NewWriter(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	want := Record{Kind: Write, ID: 1<<63 + 7, Writer: writer, Seq: 1<<40 - 1}
	line := want.Encode()
	if len(line) != RecordSize {
		t.Fatalf("a record has %d bytes: %q", len(line), line)
	}
	if got, err := Decode(line); err != nil || got != want {
		t.Fatalf("got %+v, %v", got, err)
	}
	for i := range line {
		bad := append([]byte(nil), line...)
		bad[i] ^= 0x01
		if _, err := Decode(bad); !errors.Is(err, ErrRecord) {
			t.Fatalf("a flipped bit in byte %d passed", i)
		}
	}
	if _, err := Decode(make([]byte, RecordSize)); !errors.Is(err, ErrRecord) {
		t.Fatal("a hole passed for a record")
	}
}

func TestItGoesOnAfterTheLastWholeRecord(t *testing.T) {
	dir := t.TempDir()
	a := opened(t, dir)
	for id := uint64(1); id <= 3; id++ {
		if err := a.put(Write, id); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.file.WriteAt([]byte("torn"), a.next); err != nil {
		t.Fatal(err)
	}
	b := opened(t, dir)
	if err := b.put(Write, 4); err != nil {
		t.Fatal(err)
	}
	got := records(t, dir)
	if len(got) != 4 || got[2].ID != 3 || got[2].Writer != a.writer || got[3].ID != 4 || got[3].Writer != b.writer || got[3].Seq != 1 {
		t.Fatalf("the log holds %+v", got)
	}
	// The first still trusts its own count: it overwrites what it does not know of.
	if err := a.put(Write, 5); err != nil {
		t.Fatal(err)
	}
	if got := records(t, dir); len(got) != 4 || got[3].ID != 5 {
		t.Fatalf("an application that takes no lock kept the log whole: %+v", got)
	}
}

func TestHandler(t *testing.T) {
	dir := t.TempDir()
	l := opened(t, dir)
	server := httptest.NewServer(l.handler())
	defer server.Close()
	ask := func(method, path string, want int) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != want {
			t.Fatalf("%s %s: %s: %s", method, path, resp.Status, body)
		}
		return strings.TrimSpace(string(body))
	}
	ask("GET", "/health", 200)
	ask("POST", "/write?id=0", 400)
	ask("POST", "/write?id=17", 200)
	if got := records(t, dir); len(got) != 1 || got[0].ID != 17 || got[0].Kind != Write {
		t.Fatalf("the log holds %+v", got)
	}
	ask("POST", "/fail", 200)
	for _, path := range []string{"GET /health", "GET /whoami", "POST /write?id=18"} {
		method, path, _ := strings.Cut(path, " ")
		ask(method, path, 500)
	}
	if got := records(t, dir); len(got) != 1 {
		t.Fatalf("it wrote while it failed: %+v", got)
	}
}
