package controller_test

import (
	"context"
	"testing"
	"time"

	"relight/internal/controller"
	"relight/internal/store/etcd/etcdtest"
)

// A controller runs on a cluster of somebody else's, and ends with an error, not in a
// crash, where none answers.
func TestControllerOnEndpoints(t *testing.T) {
	options := func(url string, ready func(controller.Addresses)) controller.Options {
		return controller.Options{
			Name: "c1", Dir: t.TempDir(), Endpoints: []string{url}, Listen: "127.0.0.1:0", BeatListen: "127.0.0.1:0", BeatLease: 5 * time.Second,
			Contact: time.Second, Lease: 6 * time.Second, Pace: controller.DefaultPace(), Log: etcdtest.Log(t), Ready: ready,
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	serves := false
	err := controller.Run(ctx, options(etcdtest.Start(t, nil), func(controller.Addresses) { serves = true; cancel() }))
	if err != nil || !serves {
		t.Errorf("serves %t: %v", serves, err)
	}
	short, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer stop()
	if err := controller.Run(short, options("http://127.0.0.1:1", nil)); err == nil {
		t.Errorf("on a cluster that is not there: %v", err)
	}
}
