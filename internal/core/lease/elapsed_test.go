package lease

import (
	"testing"
	"time"
)

func TestElapsedIsTheMostOfAllClocks(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want Moment }{
		"all go alike":             {Moment{1, 100, 7}, Moment{4, 103, 10}, Moment{Steady: 3}},
		"suspended":                {Moment{1, 100, 7}, Moment{2, 160, 67}, Moment{Steady: 60}},
		"no clock of its boot":     {Moment{1, 100, 0}, Moment{2, 160, 0}, Moment{Steady: 60}},
		"set back in a suspend":    {Moment{1, 100, 7}, Moment{2, 40, 67}, Moment{Steady: 60}},
		"set back":                 {Moment{1, 100, 0}, Moment{4, 40, 0}, Moment{Steady: 3}},
		"paused by its hypervisor": {Moment{1, 100, 7}, Moment{2, 160, 8}, Moment{Steady: 60}},
		"nothing goes on":          {Moment{5, 5, 5}, Moment{5, 5, 5}, Moment{}},
	} {
		if got := Elapsed(c.from, c.to); got != c.want.Steady {
			t.Errorf("%s: %d, want %d", name, got, c.want.Steady)
		}
	}
	if got := Elapsed(Moment{Steady: time.Second}, Moment{}); got != 0 {
		t.Errorf("backwards: %s", got)
	}
}
