package provider

import "time"

// Kept is what the array of one LUN of a server keeps of it.
type Kept struct {
	Server, Volume, Array, LUN string
	Snapshots                  []Snapshot
	// Err is why the array could not say.
	Err error
}

// Snapshot is a LUN as it was once.
type Snapshot struct {
	Name  string
	Bytes int64
	At    time.Time
}
