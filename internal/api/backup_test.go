package api_test

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"testing"

	"relight/internal/api/apitest"
	"relight/internal/api/client"
)

func TestBackupIsCheckedAsItComes(t *testing.T) {
	e := run(t)
	e.Saved = bytes.Repeat([]byte("all that there is "), 20_000)
	var got bytes.Buffer
	n, err := e.client(t, apitest.Token).Backup(t.Context(), &got)
	if err != nil || n != int64(len(e.Saved))+32 || !bytes.HasPrefix(got.Bytes(), e.Saved) {
		t.Errorf("%d of %d bytes, %v", n, len(e.Saved), err)
	}

	e.Fail = func(call string) error {
		if call == "backup-end" {
			return errors.New("the disk is gone")
		}
		return nil
	}
	var p *client.Problem
	if _, err := e.client(t, apitest.Token).Backup(t.Context(), &got); !errors.As(err, &p) || p.Code != client.CodeUnreachable {
		t.Errorf("a backup that was cut short: %v", err)
	}
}

// A backup makes whoever has it the engine: looking is not enough.
func TestBackupNeedsTheRightToChange(t *testing.T) {
	e := run(t)
	var p *client.Problem
	var got bytes.Buffer
	if _, err := e.client(t, "look").Backup(t.Context(), &got); !errors.As(err, &p) || p.Code != client.CodeForbidden || got.Len() > 0 {
		t.Errorf("someone who may only look: %d bytes, %v", got.Len(), err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.url+"/api/v1/backup", strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer look")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 400 {
		t.Errorf("GET is answered with %s", resp.Status)
	}
	if calls := e.Calls(); len(calls) > 0 {
		t.Errorf("the engine was asked: %q", calls)
	}
}
