package bench

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	var values []time.Duration
	for i := range 100 {
		values = append(values, time.Duration(100-i))
	}
	for q, want := range map[float64]time.Duration{0.5: 50, 0.99: 99, 1: 100} {
		if got := quantile(values, q); got != want {
			t.Errorf("quantile %v is %d, want %d", q, got, want)
		}
	}
	if got := quantile(values[:1], 0.99); got != 100 {
		t.Errorf("quantile of one value is %d, want 100", got)
	}
}

// A part that is measured alone must neither drop nor repeat the other rows.
func TestSaveMergesByName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "results.json")
	for _, s := range []struct {
		rows  []Row
		merge bool
		want  string
	}{
		{[]Row{{Name: "a", Value: 1}, {Name: "b", Value: 1}}, true, "a=1 b=1"},
		{[]Row{{Name: "b", Value: 2}, {Name: "c", Value: 2}}, true, "a=1 b=2 c=2"},
		{[]Row{{Name: "d", Value: 3}}, false, "d=3"},
	} {
		if err := Save(path, s.rows, s.merge); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var rows []Row
		if err := json.Unmarshal(raw, &rows); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range rows {
			got = append(got, r.Name+"="+figure(r.Value))
		}
		if strings.Join(got, " ") != s.want {
			t.Errorf("the file holds %v, want %s", got, s.want)
		}
	}
}

func TestRowsOfPeersAreReadIfThere(t *testing.T) {
	dir := t.TempDir()
	if rows, err := Beside(filepath.Join(dir, "results.json")); err != nil || rows != nil {
		t.Errorf("without a file: %v, %v", rows, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "detector.json"), []byte(`[{"name":"d","value":1,"unit":"s"}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	if rows, err := Beside(filepath.Join(dir, "results.json")); err != nil || len(rows) != 1 || rows[0].Name != "d" {
		t.Errorf("with a file: %v, %v", rows, err)
	}
}

func TestUnknownPartIsRefused(t *testing.T) {
	if _, err := Run(t.Context(), Options{Only: []string{"decidee"}, Progress: &strings.Builder{}}); err == nil {
		t.Error("a part that does not exist was measured")
	}
}

func TestModelServerRuns(t *testing.T) {
	m, err := newModel(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.build(t.Context(), 1000); err != nil {
		t.Fatal(err)
	}
}
