package guest

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// array is portals that let in, refuse, or say nothing for a while.
type array struct {
	mu     sync.Mutex
	alive  map[string]bool
	takes  map[string]time.Duration
	tried  map[string]int
	inside []string
}

func (a *array) login(w way) error {
	a.mu.Lock()
	takes := a.takes[w.portal]
	a.mu.Unlock()
	<-time.After(takes)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.tried == nil {
		a.tried = map[string]int{}
	}
	a.tried[w.portal]++
	if !a.alive[w.portal] {
		return errors.New(w.portal + " is dead")
	}
	a.inside = append(a.inside, w.portal)
	return nil
}

// A way that is dead, or says nothing, holds up nobody; it is tried on for a bounded time
// and is taken once it is back.
func TestOneWayIsEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &array{alive: map[string]bool{"b": true}, takes: map[string]time.Duration{"a": loginKill, "b": time.Second, "c": 0}}
		began := time.Now()
		err := enter([]way{{portal: "a"}, {portal: "b"}, {portal: "c"}}, a.login)
		if took := time.Since(began); err != nil || took != time.Second {
			t.Errorf("after %s: %v", took, err)
		}
		<-time.After(time.Minute)
		a.mu.Lock()
		a.alive["a"] = true
		a.mu.Unlock()
		<-time.After(time.Hour)
		synctest.Wait()
		if !slices.Equal(a.inside, []string{"b", "a"}) || a.tried["b"] != 1 || a.tried["c"] != loginTries {
			t.Errorf("inside %v, tried %v", a.inside, a.tried)
		}
	})
}

// If none is in, it is told why once each has failed, and the first that is back is taken.
func TestNoWayYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &array{alive: map[string]bool{}, takes: map[string]time.Duration{"a": loginWithin}}
		began := time.Now()
		err := enter([]way{{portal: "a"}, {portal: "b"}}, a.login)
		if took := time.Since(began); took != loginWithin || err == nil || !strings.Contains(err.Error(), "a is dead") || !strings.Contains(err.Error(), "b is dead") {
			t.Errorf("after %s: %v", took, err)
		}
		a.mu.Lock()
		a.alive["b"] = true
		a.mu.Unlock()
		<-time.After(time.Hour)
		synctest.Wait()
		if !slices.Equal(a.inside, []string{"b"}) {
			t.Errorf("inside %v", a.inside)
		}
	})
	if err := enter(nil, nil); err == nil {
		t.Error("a table without a target is taken")
	}
}

func TestLoginArgs(t *testing.T) {
	w := way{target: "iqn.2026-01.x:t", portal: "10.0.0.1", port: "3261", user: "u", secret: "s"}
	one := strings.Join(loginArgs("iqn.2026-01.x:i", w, false), " ")
	want := initiatorProgram + " -i iqn.2026-01.x:i -t iqn.2026-01.x:t -g 1 -a 10.0.0.1 -p 3261" +
		" -P node.session.initial_login_retry_max=1 -P node.conn[0].timeo.login_timeout=5 -u u -w s"
	if one != want {
		t.Errorf("%s, want %s", one, want)
	}
	w.user = ""
	if argv := loginArgs("i", w, true); slices.Contains(argv, "-u") || argv[len(argv)-1] != "node.session.timeo.replacement_timeout=10" {
		t.Errorf("%q", argv)
	}
}

// A program that hangs is killed with the child that it has.
func TestLoginIsBounded(t *testing.T) {
	dir := t.TempDir()
	script, child := filepath.Join(dir, "script"), filepath.Join(dir, "child")
	text := "#!/bin/sh\n[ \"$1\" = fail ] && exit 3\n[ \"$1\" = hang ] || exit 0\nsleep 1000 &\necho $! > " + child + "\nwait\n"
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := runLogin([]string{script}, time.Minute); err != nil {
		t.Error(err)
	}
	if err := runLogin([]string{script, "fail"}, time.Minute); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("%v", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- runLogin([]string{script, "hang"}, 300*time.Millisecond) }()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("it ended well")
		}
	case <-time.After(time.Minute):
		t.Fatal("it was not killed")
	}
	pid, err := os.ReadFile(child)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the child is gone", func() bool {
		stat, err := os.ReadFile(filepath.Join("/proc", strings.TrimSpace(string(pid)), "stat"))
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}
