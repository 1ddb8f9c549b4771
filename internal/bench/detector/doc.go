// Package detector measures how fast and how wrongly Relight's detector judges, in
// Chen's terms: detection time, mistake rate, mistake duration. A simulated fleet
// beats, pings, probes and reports through a seeded bad network, at the pace and
// with the time-outs of the agents; detect.Fold and detect.Judge, the product's
// own, decide. Nothing here waits: time is a number.
package detector
