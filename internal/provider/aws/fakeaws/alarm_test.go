package fakeaws

import "testing"

// TestDET_ALARM_Tables replays the tables of CloudWatch's guide, row by row: five data
// points, three periods. Where a row says that the state is kept, it is.
func TestDET_ALARM_Tables(t *testing.T) {
	const (
		ok, on, none, kept = AlarmOK, AlarmOn, AlarmInsufficient, "kept"
	)
	treats := []MissingData{Missing, Ignore, Breaching, NotBreaching}
	for _, row := range []struct {
		data   string
		points int
		want   [4]string
	}{
		{"0-x-x", 3, [4]string{ok, ok, ok, ok}},
		{"----0", 3, [4]string{ok, ok, ok, ok}},
		{"-----", 3, [4]string{none, kept, on, ok}},
		{"0xx-x", 3, [4]string{on, on, on, on}},
		{"--x--", 3, [4]string{on, kept, on, ok}},
		{"0-x-x", 2, [4]string{on, on, on, on}},
		{"00x0x", 2, [4]string{on, on, on, on}},
		{"0-x--", 2, [4]string{ok, ok, on, ok}},
		{"----0", 2, [4]string{ok, ok, on, ok}},
		{"---x-", 2, [4]string{on, kept, on, ok}},
		// A failing point that is too new, for the next may pass; the guide says no more.
		{"----x", 3, [4]string{kept, kept}},
		{"---x-", 3, [4]string{kept, kept}},
	} {
		for n, treat := range treats {
			for _, was := range []string{ok, on, none} {
				want := row.want[n]
				switch want {
				case "":
					continue
				case kept:
					want = was
				}
				if got := evaluate(row.data, 3, row.points, treat, was); got != want {
					t.Errorf("%s, %d of 3, %s, was %s: %s, want %s", row.data, row.points, treat, was, got, want)
				}
			}
		}
	}
}
