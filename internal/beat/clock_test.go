package beat

import "testing"

func TestBootClockRises(t *testing.T) {
	c := BootClock()
	a, b := c(), c()
	if a <= 0 || b < a {
		t.Errorf("clock read %d, then %d", a, b)
	}
}
