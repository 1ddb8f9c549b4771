package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/store"
	"relight/internal/store/mem"
)

// A restore marks all servers, those without a status too: more of them than go into one
// transaction.
func TestSetBackMarksServers(t *testing.T) {
	ctx, st := context.Background(), mem.New(mem.Options{})
	put := func(key string, value any) {
		raw, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Commit(ctx, store.Txn{Ops: []store.Op{{Key: root + key, Value: raw}}}); err != nil {
			t.Fatal(err)
		}
	}
	const servers = markAtOnce + 3
	for n := range servers {
		put(fmt.Sprintf("%s/db-%d", kindServer, n), Document{})
	}
	put(kindServer+"/db-0", Document{Raw: json.RawMessage(`{"spec":{"identity":{"volumes":[{"name":"data","path":"/srv/a"},{"name":"log","id":"vol-1"}]}}}`)})
	put(kindStatus+"/db-0", fleet.Status{Server: "db-0", Epoch: 3, Recovery: &fleet.Recovery{Requested: "ann"}})
	put(kindRequest+"/db-1", fleet.Request{Server: "db-1", By: "ann"})
	put(kindStatus+"/db-1", fleet.Status{Server: "db-1", Message: "it waits"})
	if err := SetBack(ctx, st, 90*time.Second); err != nil {
		t.Fatal(err)
	}
	for n := range servers {
		name := fmt.Sprintf("db-%d", n)
		r, err := st.Get(ctx, root+kindStatus+"/"+name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var status fleet.Status
		if err := json.Unmarshal(r.Value, &status); err != nil {
			t.Fatal(err)
		}
		if !status.SetBack || status.Server != name || n == 0 && (status.Epoch != 3 || status.Skip != 3+epochGap+90 || !status.Recovery.SetBack) || n == 1 && status.Message != "it waits" {
			t.Errorf("%s: %+v", name, status)
		}
	}
	// Whether a volume was written to since, only who knows no better takes for no.
	r, err := st.Get(ctx, root+kindStatus+"/db-0")
	if err != nil {
		t.Fatal(err)
	}
	var status fleet.Status
	if err := json.Unmarshal(r.Value, &status); err != nil || !slices.Equal(status.Written, []fleet.Written{{Volume: "data", Epoch: 3}}) {
		t.Errorf("written: %v, %v", status.Written, err)
	}
	if _, err := st.Get(ctx, root+kindRequest+"/db-1"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the wish of before the backup: %v", err)
	}
}
