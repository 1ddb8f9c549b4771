package demo

import "relight/internal/demo/phases"

// Report is what a demo found; its JSON form is a public format.
type Report struct {
	// Healed is true if every fault was healed.
	Healed bool            `json:"healed"`
	Faults []phases.Result `json:"faults"`
	// Acked counts the acknowledged writes, AckedLost those that the logs do not
	// hold. TwoWriters counts the moments at which two were at work on one log.
	Acked      int `json:"acked"`
	AckedLost  int `json:"acked_lost"`
	TwoWriters int `json:"two_writers"`
}
