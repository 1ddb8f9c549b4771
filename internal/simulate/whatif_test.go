package simulate

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"relight/internal/spec"
)

// Each question under testdata/whatif is asked; its answer, or its error, is a golden
// file. A file has the sections args, mine.yaml and expect.
func TestWhatIf(t *testing.T) {
	files, err := filepath.Glob("testdata/whatif/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no questions: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { ask(t, file) })
	}
}

func ask(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	section := map[string]int{}
	for n, f := range archive.Files {
		section[f.Name] = n
	}
	lose, opt := questionOf(t, string(archive.Files[section["args"]].Data))
	var got string
	a, err := WhatIf([]spec.File{{Name: "mine.yaml", Data: archive.Files[section["mine.yaml"]].Data}}, lose, opt)
	if err != nil {
		got = "error: " + err.Error() + "\n"
	} else {
		got = a.Print()
		if _, err := json.Marshal(a); err != nil {
			t.Fatal(err)
		}
	}
	if n, ok := section["expect"]; ok && !*update {
		if diff := cmp.Diff(strings.Split(string(archive.Files[n].Data), "\n"), strings.Split(got, "\n")); diff != "" {
			t.Errorf("the answer differs (go test -update rewrites it; read the diff):\n%s", diff)
		}
		return
	}
	if !*update {
		t.Fatal("it expects nothing")
	}
	if n, ok := section["expect"]; ok {
		archive.Files[n].Data = []byte(got)
	} else {
		archive.Files = append(archive.Files, txtar.File{Name: "expect", Data: []byte(got)})
	}
	if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
		t.Fatal(err)
	}
}

// questionOf reads "lose host-1" or "cut host-1", and "units 4".
func questionOf(t *testing.T, text string) (lose []string, opt WhatIfOptions) {
	words := strings.Fields(text)
	for n := 0; n+1 < len(words); n += 2 {
		switch words[n] {
		case "cut":
			opt.Cut = true
			lose = append(lose, words[n+1])
		case "lose":
			lose = append(lose, words[n+1])
		case "links":
			opt.Links = words[n+1]
		case "units":
			u, err := strconv.Atoi(words[n+1])
			if err != nil {
				t.Fatal(err)
			}
			opt.Units = u
		default:
			t.Fatalf("args: %q", words[n])
		}
	}
	return lose, opt
}

// hostSite is the document of a host.
func hostSite(name string) string {
	return "---\napiVersion: relight/v1alpha1\nkind: Site\nmetadata: {name: " + name + "}\nspec: {kind: host}\n"
}

// Two answers to one question are the same.
func TestWhatIfIsDeterministic(t *testing.T) {
	data := []byte(twoServers + hostSite("host-1") + hostSite("host-2"))
	first, err := WhatIf([]spec.File{{Name: "a.yaml", Data: data}}, []string{"host-1"}, WhatIfOptions{})
	if err != nil {
		t.Fatal(err)
	}
	second, err := WhatIf([]spec.File{{Name: "a.yaml", Data: data}}, []string{"host-1"}, WhatIfOptions{})
	if diff := cmp.Diff(first.Print(), second.Print()); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

// A name that does not exist is an error of its own, with the nearest that does.
func TestWhatIfUnknownHost(t *testing.T) {
	_, err := WhatIf([]spec.File{{Name: "a.yaml", Data: []byte(twoServers + hostSite("host-1"))}}, []string{"hots-1"}, WhatIfOptions{})
	var unknown *Unknown
	if !errors.As(err, &unknown) || unknown.Near != "host-1" {
		t.Fatalf("got %v", err)
	}
}
