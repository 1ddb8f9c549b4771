package lab

import (
	"testing"
	"time"
)

// A move is from the last answer of the old one to the first answer of the next one;
// the old one that answers again has not been followed yet.
func TestMove(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(int64(ms)) }
	c := &Caller{times: map[string]int{}}
	if _, _, moved := c.Move("vm-1 1"); moved || !c.Last().At.IsZero() {
		t.Error("nobody answered, and it moved")
	}
	for _, a := range []Answer{{at(1), "vm-1 1"}, {at(2), "vm-1 1"}, {at(30), "vm-1 2"}, {at(31), "vm-1 2"}} {
		c.note(a)
	}
	if end, begin, moved := c.Move("vm-1 1"); !moved || !end.At.Equal(at(2)) || !begin.At.Equal(at(30)) || c.Last().Who != "vm-1 2" {
		t.Errorf("%v to %v, %v", end, begin, moved)
	}
	c.note(Answer{at(40), "vm-1 1"})
	if end, _, moved := c.Move("vm-1 1"); moved || !end.At.Equal(at(40)) {
		t.Errorf("the old one answered last, at %v, and it moved: %v", end.At, moved)
	}
	c.note(Answer{at(41), "vm-1 2"})
	if end, begin, moved := c.Move("vm-1 1"); !moved || !end.At.Equal(at(40)) || !begin.At.Equal(at(41)) {
		t.Errorf("%v to %v, %v", end, begin, moved)
	}
}
