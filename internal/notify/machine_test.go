package notify

import (
	"fmt"
	"testing"
	"time"

	"relight/internal/core/event"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// item makes a notable event of an incident, or of none.
func item(shard int, seq uint64, incident string) Item {
	return Item{shard, seq, event.Event{
		Version: event.Version, Kind: event.VerdictChanged, At: start, Server: "lic-01", By: "relight", Incident: incident,
	}}
}

func dull(shard int, seq uint64) Item {
	return Item{shard, seq, event.Event{Kind: event.StepEnded}}
}

// half is a jitter without surprises.
func half() float64 { return 0.5 }

// ids lists what a message carries.
func ids(m *Message) string {
	if m == nil {
		return "nothing"
	}
	var out []string
	for _, it := range m.Items {
		out = append(out, fmt.Sprintf("%d-%d", it.Shard, it.Seq))
	}
	return fmt.Sprint(out)
}

func wantPost(t *testing.T, e Effects, want string) {
	t.Helper()
	if got := ids(e.Post); got != want {
		t.Fatalf("posts %s, want %s", got, want)
	}
}

func wantSave(t *testing.T, e Effects, want ...Position) {
	t.Helper()
	if fmt.Sprint(e.Save) != fmt.Sprint(want) {
		t.Fatalf("saves %v, want %v", e.Save, want)
	}
}

func TestEventsOfOneIncidentAreOneMessage(t *testing.T) {
	m := NewMachine(half)
	m.Add(start, item(1, 1, "inc-1"))
	m.Add(start.Add(time.Second), item(2, 7, "inc-1"))
	m.Add(start.Add(time.Second), item(1, 2, "inc-2"))
	m.Add(start.Add(time.Second), item(1, 3, "inc-1"))
	e := m.Next(start.Add(time.Second))
	wantPost(t, e, "nothing")
	if !e.LookAgainAt.Equal(start.Add(window)) {
		t.Fatalf("looks again at %s", e.LookAgainAt)
	}
	e = m.Next(start.Add(window))
	wantPost(t, e, "[1-1 2-7 1-3]")
	wantSave(t, e)
	// What comes while it is on its way is another message.
	m.Add(start.Add(window), item(1, 4, "inc-1"))
	wantPost(t, m.Next(start.Add(time.Hour)), "nothing")
	m.Posted(start.Add(time.Hour), Delivered, 0)
	e = m.Next(start.Add(time.Hour))
	wantPost(t, e, "[1-2]")
	wantSave(t, e, Position{1, 1}, Position{2, 7})
	m.Posted(start.Add(time.Hour), Delivered, 0)
	wantPost(t, m.Next(start.Add(time.Hour)), "[1-4]")
}

func TestEventWithoutIncidentGoesAtOnceAlone(t *testing.T) {
	m := NewMachine(half)
	m.Add(start, item(1, 1, ""))
	m.Add(start, item(1, 2, ""))
	wantPost(t, m.Next(start), "[1-1]")
	m.Posted(start, Delivered, 0)
	wantPost(t, m.Next(start), "[1-2]")
}

func TestFullMessageDoesNotWait(t *testing.T) {
	m := NewMachine(half)
	for i := range maxBatch + 1 {
		m.Add(start, item(1, uint64(i)+1, "inc-1"))
	}
	e := m.Next(start)
	if e.Post == nil || len(e.Post.Items) != maxBatch {
		t.Fatalf("posts %s", ids(e.Post))
	}
	m.Posted(start, Delivered, 0)
	wantPost(t, m.Next(start), "nothing")
	wantPost(t, m.Next(start.Add(window)), fmt.Sprintf("[1-%d]", maxBatch+1))
}

func TestPausesDoubleWithFullJitter(t *testing.T) {
	m := NewMachine(half)
	m.Add(start, item(1, 1, ""))
	now := start
	wantPost(t, m.Next(now), "[1-1]")
	for i, seconds := range []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300} {
		want := time.Duration(seconds) * time.Second
		m.Posted(now, Again, 0)
		e := m.Next(now)
		wantPost(t, e, "nothing")
		if pause := e.LookAgainAt.Sub(now); pause != want/2 {
			t.Fatalf("pause %d is %s, want half of %s", i+1, pause, want)
		}
		wantPost(t, m.Next(e.LookAgainAt.Add(-1)), "nothing")
		now = e.LookAgainAt
		wantPost(t, m.Next(now), "[1-1]")
	}
	// A success ends the pauses for the next failure.
	m.Posted(now, Delivered, 0)
	m.Add(now, item(1, 2, ""))
	wantPost(t, m.Next(now), "[1-2]")
	m.Posted(now, Again, 0)
	if e := m.Next(now); e.LookAgainAt.Sub(now) != firstPause/2 {
		t.Fatalf("pause after a success is %s", e.LookAgainAt.Sub(now))
	}
}

func TestReceiverMayAskForALongerPause(t *testing.T) {
	for asked, want := range map[time.Duration]time.Duration{0: firstPause / 2, time.Minute: time.Minute, time.Hour: maxPause} {
		m := NewMachine(half)
		m.Add(start, item(1, 1, ""))
		m.Next(start)
		m.Posted(start, Again, asked)
		if e := m.Next(start); e.LookAgainAt.Sub(start) != want {
			t.Errorf("asked for %s, pauses %s", asked, e.LookAgainAt.Sub(start))
		}
	}
}

// A message that the receiver chokes on must not silence all others, and the
// story of one incident must not be told backwards.
func TestFailingMessageGoesBehindTheOthers(t *testing.T) {
	m := NewMachine(half)
	m.Add(start, item(1, 1, "inc-1"))
	now := start.Add(window)
	wantPost(t, m.Next(now), "[1-1]")
	m.Posted(now, Again, 0)
	m.Add(now, item(1, 2, "inc-1"))
	m.Add(now, item(1, 3, ""))
	now = now.Add(time.Hour)
	e := m.Next(now)
	wantPost(t, e, "[1-3]")
	m.Posted(now, Delivered, 0)
	e = m.Next(now)
	wantPost(t, e, "[1-1]")
	wantSave(t, e) // entry 3 has ended, but 1 and 2 have not
	m.Posted(now, Refused, 0)
	e = m.Next(now)
	wantPost(t, e, "[1-2]")
	wantSave(t, e, Position{1, 1})
	m.Saved(now, e.Save[0], true)
	m.Posted(now, Delivered, 0)
	wantSave(t, m.Next(now.Add(saveEvery)), Position{1, 3})
}

func TestCursorPassesDullEvents(t *testing.T) {
	m := NewMachine(half)
	m.Add(start, dull(1, 5))
	m.Add(start, dull(1, 6))
	e := m.Next(start)
	wantPost(t, e, "nothing")
	wantSave(t, e, Position{1, 6})
	m.Saved(start, e.Save[0], true)
	// The journal is busy; the cursor is not written as often.
	m.Add(start, dull(1, 7))
	e = m.Next(start)
	wantSave(t, e)
	if !e.LookAgainAt.Equal(start.Add(saveEvery)) {
		t.Fatalf("looks again at %s", e.LookAgainAt)
	}
	wantSave(t, m.Next(e.LookAgainAt), Position{1, 7})
}

func TestCursorIsSavedAgainAfterAFailure(t *testing.T) {
	m := NewMachine(half)
	m.Add(start, dull(1, 1))
	e := m.Next(start)
	m.Saved(start, e.Save[0], false)
	e = m.Next(start)
	wantSave(t, e)
	wantSave(t, m.Next(e.LookAgainAt), Position{1, 1})
}

func TestEventsAreTakenOnce(t *testing.T) {
	m := NewMachine(half)
	m.Add(start, item(1, 4, ""))
	m.Add(start, item(1, 4, ""))
	m.Add(start, item(1, 3, ""))
	wantPost(t, m.Next(start), "[1-4]")
	m.Posted(start, Delivered, 0)
	wantPost(t, m.Next(start), "nothing")
}

func TestDroppedShardIsLeftAlone(t *testing.T) {
	m := NewMachine(half)
	m.Add(start, item(1, 1, ""))
	wantPost(t, m.Next(start), "[1-1]")
	m.Add(start, item(1, 2, "inc-1"))
	m.Add(start, item(2, 1, "inc-1"))
	m.Add(start, item(1, 3, ""))
	m.Drop(1)
	m.Posted(start, Delivered, 0)
	e := m.Next(start.Add(window))
	wantPost(t, e, "[2-1]")
	wantSave(t, e)
	m.Posted(start, Delivered, 0)
	wantSave(t, m.Next(start), Position{2, 1})
	if m.waiting != 0 || len(m.messages) != 0 {
		t.Errorf("%d events in %d messages are left", m.waiting, len(m.messages))
	}
}

func TestQueueIsBounded(t *testing.T) {
	m := NewMachine(half)
	for i := range maxQueue {
		if m.Full() {
			t.Fatalf("full with %d events", i)
		}
		m.Add(start, item(1, uint64(i)+1, "inc-1"))
	}
	if !m.Full() {
		t.Fatal("not full")
	}
	m.Next(start)
	m.Posted(start, Delivered, 0)
	if m.Full() || m.waiting != maxQueue-maxBatch {
		t.Errorf("%d wait after a message", m.waiting)
	}
}
