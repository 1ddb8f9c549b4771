package fleet

import "time"

// DrillName names a drill.
type DrillName string

// The drills.
const (
	// DrillAppKill ends the application's processes without a word.
	DrillAppKill DrillName = "app-kill"
	// DrillHang stops the application, or the machine's CPUs: it lives and is mute.
	DrillHang DrillName = "hang"
	// DrillHostLoss takes the whole host away with all that runs on it.
	DrillHostLoss DrillName = "host-loss"
	// DrillData ends the application in the middle of writes and holds the data
	// against what was acknowledged.
	DrillData DrillName = "data"
	// DrillFailback moves the server to another host and back, as planned.
	DrillFailback DrillName = "failback"
)

// DrillNames lists all drills, the gentlest first.
func DrillNames() []DrillName {
	return []DrillName{DrillAppKill, DrillHang, DrillData, DrillFailback, DrillHostLoss}
}

// Drill is a planned fault with its expected outcome, and what came of it.
type Drill struct {
	ID     string    `json:"id"`
	Name   DrillName `json:"name"`
	Server string    `json:"server"`
	// Host and Epoch are the server's as the drill began.
	Host   string    `json:"host"`
	Epoch  Epoch     `json:"epoch"`
	By     string    `json:"by"`
	Reason string    `json:"reason,omitempty"`
	Begun  time.Time `json:"begun"`
	// Expected says in a sentence what must come of it.
	Expected string `json:"expected"`
	// Ended is zero while it runs.
	Ended  time.Time   `json:"ended,omitzero"`
	Result DrillResult `json:"result,omitzero"`
}

// DrillResult is what came of a drill.
type DrillResult struct {
	Passed bool `json:"passed"`
	// RTO counts from the fault until the server's own checks passed.
	RTO Duration `json:"rto"`
	// Pause is the longest time that a client waited for an acknowledgement; 0 if
	// nobody wrote.
	Pause Duration `json:"pause,omitempty"`
	// Acked counts the writes that were acknowledged during the drill, Lost those of
	// them that the data does not hold (RPO), and TwoWriters the moments with two.
	Acked      int `json:"acked"`
	Lost       int `json:"lost"`
	TwoWriters int `json:"twoWriters"`
	// To is where the server ended, Epoch the one that works there.
	To    string `json:"to,omitempty"`
	Epoch Epoch  `json:"epoch,omitempty"`
	// Failure says what was not as expected; empty if it passed.
	Failure string `json:"failure,omitempty"`
}

// Expectation says in a sentence what must come of a drill.
func (n DrillName) Expectation() string {
	switch n {
	case DrillAppKill:
		return "it is seen dead and works again, with nothing lost"
	case DrillHang:
		return "it is seen to hang and works again, with nothing lost"
	case DrillData:
		return "it works again and holds every write that was acknowledged, each once, by one writer at a time"
	case DrillFailback:
		return "it works on another host and then where it came from, with nothing lost and no incident"
	case DrillHostLoss:
		return "every server of the host works on other hosts, with nothing lost"
	default:
		return ""
	}
}
