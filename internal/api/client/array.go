package client

import (
	"context"
	"net/http"
	"slices"
	"time"

	"relight/internal/core/fleet"
)

// ArrayExamination asks for an examination of an array.
type ArrayExamination struct {
	// LUN is an empty one that may be written to; without it a scratch LUN is made.
	LUN string `json:"lun,omitempty"`
	// Watch is for how long the LUN is watched after the fence; zero is ten seconds.
	Watch fleet.Duration `json:"watch,omitempty"`
}

// ArrayReport is what an examination of an array found.
type ArrayReport struct {
	Array  string    `json:"array"`
	Site   string    `json:"site"`
	Driver string    `json:"driver"`
	At     time.Time `json:"at"`
	// LUN is the scratch LUN, Made whether it was made for this.
	LUN  string `json:"lun"`
	Made bool   `json:"made"`
	// Commands are the writing commands, and what the array does with each of them if
	// a reservation should stop it.
	Commands []ArrayCommand `json:"commands"`
	// SecondLine: reservations stop whatever the fence shuts out. WhyNot is why they
	// do not; they are never the first line.
	SecondLine bool     `json:"secondLine"`
	WhyNot     []string `json:"whyNot,omitempty"`
	// Fence are the findings about the storage fence.
	Fence []DoctorCheck `json:"fence"`
	// Trouble is why the examination did not come to its end.
	Trouble string `json:"trouble,omitempty"`
}

// ArrayCommand is a SCSI command and what the array does with it.
type ArrayCommand struct {
	Command string `json:"command"`
	Does    string `json:"does"`
}

// Failed reports whether the fence did not hold, or nobody knows.
func (r ArrayReport) Failed() bool {
	return r.Trouble != "" || len(r.Fence) == 0 ||
		slices.ContainsFunc(r.Fence, func(c DoctorCheck) bool { return c.State == DoctorFail })
}

// ExamineArray tries what an array's fence and reservations are worth, on a scratch
// LUN. It returns when that is done.
func (c *Client) ExamineArray(ctx context.Context, array string, req ArrayExamination) (ArrayReport, error) {
	var out ArrayReport
	err := c.do(ctx, call{
		method: http.MethodPost, path: []string{"arrays", array, "examine"}, body: req,
		within: examineWithin + req.Watch.Std(),
	}, &out)
	return out, err
}

// examineWithin bounds an examination without its watch.
const examineWithin = 5 * time.Minute
