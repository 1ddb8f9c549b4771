package demo

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"relight/internal/demo/app"
)

// Findings is what a log shows when it is held against what clients were told.
// The checker believes the bytes of the log and the clients' record, and nothing
// that Relight says.
type Findings struct {
	Acked, Records, Writers int
	// AckedLost counts acknowledged writes that the log does not hold.
	AckedLost int
	// TwoWriters counts the moments at which a writer comes again after another
	// has begun: at that place two were at work.
	TwoWriters int
	// Duplicates counts ids that are there twice, Damaged records that cannot be
	// read.
	Duplicates, Damaged int
	// Notes say for people where the first of each were found.
	Notes []string
}

// OK reports whether nothing is wrong with the log.
func (f Findings) OK() bool {
	return f.AckedLost == 0 && f.TwoWriters == 0 && f.Duplicates == 0 && f.Damaged == 0
}

// Check holds the log of a volume against the ids that were acknowledged.
func Check(volume string, acked []uint64) (Findings, error) {
	file, err := os.Open(filepath.Join(volume, app.LogName))
	if errors.Is(err, os.ErrNotExist) && len(acked) == 0 {
		return Findings{}, nil
	}
	if err != nil {
		return Findings{}, fmt.Errorf("check: %w", err)
	}
	defer func() { _ = file.Close() }()
	f, err := check(bufio.NewReader(file), acked)
	if err != nil {
		return f, fmt.Errorf("check %s: %w", file.Name(), err)
	}
	return f, nil
}

func check(in io.Reader, acked []uint64) (Findings, error) {
	c := checker{times: map[uint64]int{}, last: map[string]uint64{}, f: Findings{Acked: len(acked)}}
	buf := make([]byte, app.RecordSize)
	for {
		n, err := io.ReadFull(in, buf)
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			// The last write of a writer that was killed; nobody was told of it.
			c.note("%d bytes of a torn record at the end", n)
			break
		}
		if err != nil {
			return c.f, err
		}
		c.record(buf)
	}
	for _, id := range acked {
		if c.times[id] == 0 {
			if c.f.AckedLost == 0 {
				c.note("write %d was acknowledged and is not in the log", id)
			}
			c.f.AckedLost++
		}
	}
	c.f.Writers = len(c.last)
	return c.f, nil
}

// checker reads a log from its start.
type checker struct {
	f     Findings
	times map[uint64]int
	// last is the sequence number that each writer has come to.
	last    map[string]uint64
	current string
}

func (c *checker) note(format string, args ...any) {
	c.f.Notes = append(c.f.Notes, fmt.Sprintf("record %d: ", c.f.Records)+fmt.Sprintf(format, args...))
}

func (c *checker) record(b []byte) {
	c.f.Records++
	r, err := app.Decode(b)
	if err != nil {
		if c.f.Damaged == 0 {
			c.note("%v", err)
		}
		c.f.Damaged++
		return
	}
	if r.Kind == app.Write {
		if c.times[r.ID]++; c.times[r.ID] == 2 {
			c.note("write %d is there twice", r.ID)
			c.f.Duplicates++
		}
	}
	c.writer(r)
}

// writer follows who writes. A gap in a writer's own numbers is a place where
// another one has overwritten it.
func (c *checker) writer(r app.Record) {
	before, known := c.last[r.Writer]
	switch {
	case known && c.current != r.Writer:
		c.twoWriters("writer %s comes again after writer %s began", r.Writer, c.current)
	case r.Seq != before+1:
		c.twoWriters("writer %s goes from its record %d to %d: others wrote over what was between", r.Writer, before, r.Seq)
	}
	c.current, c.last[r.Writer] = r.Writer, r.Seq
}

func (c *checker) twoWriters(format string, args ...any) {
	if c.f.TwoWriters == 0 {
		c.note(format, args...)
	}
	c.f.TwoWriters++
}
