package check

import "testing"

func (l *lun) held(acked []Ack, lost, turns int) {
	l.Helper()
	gotLost, gotTurns, err := Held(l.file.Name(), acked)
	if err != nil || gotLost != lost || gotTurns != turns {
		l.Errorf("lost %d, turns %d, %v; want %d and %d", gotLost, gotTurns, err, lost, turns)
	}
}

func TestHeld(t *testing.T) {
	l := newLUN(t)
	l.held(nil, 0, 0)
	l.write(1, 1, 20)
	l.write(2, 21, 40)
	l.held(append(acks(1, 1, 20), acks(2, 21, 40)...), 0, 0)
	l.held(acks(2, 40, 42), 2, 0) // never written
	l.held(acks(1, 21, 22), 2, 0) // the next epoch has written over them
	l.write(1, 30, 31)            // and the old one over its own
	l.held(acks(2, 21, 40), 2, 1)

	l = newLUN(t)
	l.write(1, 1, blocks+50)
	l.held(acks(1, 1, 60), 0, 0) // the first 50 were come around
	l.write(2, blocks+51, blocks+60)
	l.held(append(acks(1, 1, 60), acks(2, blocks+51, blocks+60)...), 0, 0)
	l.block(40, make([]byte, Size))
	l.held(acks(1, 1, 60), 1, 0)
}
