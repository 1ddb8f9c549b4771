package arraytest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"relight/internal/array"
	"relight/internal/array/iscsi"
)

// Plane is a model of an array's data side: logins, sessions and disks, without a
// network. The models of the drivers' management sides say who may log in and what
// a session sees; they are asked at each login and each command.
type Plane struct {
	// Admit refuses a login, or returns nil.
	Admit func(iscsi.Config) error
	// Sees returns the disk behind a unit for a session, or nil. Arrays that check
	// the map with each command look it up anew each time.
	Sees func(c iscsi.Config, unit int) *Disk

	mu       sync.Mutex
	next     int
	sessions []*login
}

// Listed is a session as the model lists it.
type Listed struct {
	ID     int
	Config iscsi.Config
}

type login struct {
	plane *Plane
	id    int
	cfg   iscsi.Config
}

var errGone = errors.New("the session is gone")

// Connect logs in.
func (p *Plane) Connect(_ context.Context, cfg iscsi.Config) (array.Conn, error) {
	if err := p.Admit(cfg); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next++
	l := &login{plane: p, id: p.next, cfg: cfg}
	p.sessions = append(p.sessions, l)
	return l, nil
}

// Sessions lists what is logged in.
func (p *Plane) Sessions() []Listed {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []Listed
	for _, l := range p.sessions {
		out = append(out, Listed{l.id, l.cfg})
	}
	return out
}

// Kill ends the sessions that the function picks.
func (p *Plane) Kill(which func(Listed) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sessions = slices.DeleteFunc(p.sessions, func(l *login) bool { return which(Listed{l.id, l.cfg}) })
}

// Close implements array.Conn.
func (l *login) Close() error {
	l.plane.Kill(func(o Listed) bool { return o.ID == l.id })
	return nil
}

// Execute implements array.Conn.
func (l *login) Execute(_ context.Context, c iscsi.Command) (iscsi.Reply, error) {
	l.plane.mu.Lock()
	defer l.plane.mu.Unlock()
	if !slices.Contains(l.plane.sessions, l) {
		return iscsi.Reply{}, errGone
	}
	if c.CDB[0] == 0xa0 {
		return iscsi.Reply{In: l.units()}, nil
	}
	d := l.plane.Sees(l.cfg, c.LUN)
	if d == nil {
		return iscsi.Reply{Status: iscsi.CheckCondition, Key: 5, ASC: 0x25}, nil // no such unit
	}
	return d.execute(fmt.Sprintf("%s/%x", l.cfg.Initiator, l.cfg.ISID), c), nil
}

func (l *login) units() []byte {
	var out []byte
	out = append(out, 0, 0, 0, 0, 0, 0, 0, 0) // the length, at last
	for n := range 256 {
		if l.plane.Sees(l.cfg, n) != nil {
			out = append(out, 0, byte(n), 0, 0, 0, 0, 0, 0)
		}
	}
	binary.BigEndian.PutUint32(out, uint32(len(out)-8))
	return out
}
