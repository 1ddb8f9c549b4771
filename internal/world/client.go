package world

import (
	"fmt"
	"slices"
	"time"

	"relight/internal/core/fleet"
)

// Client writes to a server by a DNS name, an address or a target group, and
// remembers what was acknowledged to it, and by whom.
type Client struct {
	Name string
	Via  string
	// Sticky clients keep their connection, with the answer that led to it, for
	// as long as it works; others look again for each write.
	Sticky bool

	// Acked counts acknowledged writes by epoch; Failed counts the others.
	Acked  map[fleet.Epoch]uint64
	Failed uint64

	answer string
	until  time.Time
	conn   string // the instance that it is connected to
	turn   int
}

// NewClient returns a client that has asked for nothing yet.
func NewClient(name, via string, sticky bool) *Client {
	return &Client{Name: name, Via: via, Sticky: sticky, Acked: map[fleet.Epoch]uint64{}}
}

// serves reports whether clients get answers from an instance.
func (w *World) serves(i *Instance) bool {
	return i != nil && w.able(i) && w.hosts[i.Host].HasPeers() && i.App == AppOK
}

// ClientWrite sends one write: the instance that the client reaches writes to all
// its volumes, and when they have it the client is told. An acknowledgement by an
// older epoch after one by a newer is a violation (S1): the server had moved on,
// and what the old one accepted is lost. Errors: ErrUnreachable if the write
// cannot even begin.
func (w *World) ClientWrite(c *Client) error {
	i := w.connect(c)
	if !w.serves(i) {
		c.Failed++
		c.conn = ""
		return fmt.Errorf("client %s by %s: %w", c.Name, c.Via, ErrUnreachable)
	}
	c.conn = i.ID
	epoch, left := i.Epoch, len(i.Volumes)
	if left == 0 {
		w.acknowledge(c, i, epoch)
		return nil
	}
	failed := false
	for _, id := range i.Volumes {
		w.write(i, w.volumes[id], func(done bool) {
			left--
			failed = failed || !done
			switch {
			case left > 0:
			case failed:
				c.Failed++
				c.conn = ""
			default:
				w.acknowledge(c, i, epoch)
			}
		})
	}
	return nil
}

func (w *World) acknowledge(c *Client, i *Instance, epoch fleet.Epoch) {
	c.Acked[epoch]++
	if newest := w.served[i.Server]; epoch < newest && !w.allowsTwo(c) {
		w.violate("S1", i.Server, fmt.Sprintf("client %s was acknowledged by epoch %d after epoch %d had served", c.Name, epoch, newest))
	}
	w.served[i.Server] = max(w.served[i.Server], epoch)
}

// allowsTwo reports whether the client came by an address that may have two holders.
func (w *World) allowsTwo(c *Client) bool {
	a := w.addresses[c.destination()]
	return a != nil && a.AllowTwo
}

func (c *Client) destination() string {
	if c.answer != "" {
		return c.answer
	}
	return c.Via
}

// connect returns the instance that the client's next write reaches, or nil.
func (w *World) connect(c *Client) *Instance {
	if c.Sticky && c.conn != "" && w.stays(c) {
		return w.instances[c.conn]
	}
	if value, ttl, known := w.Resolve(c.Via); known && !w.Now().Before(c.until) {
		c.answer, c.until = value, w.Now().Add(ttl)
	}
	to := c.destination()
	if g := w.groups[to]; g != nil {
		return w.instances[g.pick()]
	}
	if holders := w.answering(to); len(holders) > 0 {
		// Two that answer to one address share its clients by chance; in turn is
		// as good, and repeats.
		c.turn++
		return w.instances[holders[c.turn%len(holders)]]
	}
	return nil
}

// stays reports whether a connection still leads to its instance: its target
// drains or is there, or it still answers to the address.
func (w *World) stays(c *Client) bool {
	to := c.destination()
	if g := w.groups[to]; g != nil {
		return slices.ContainsFunc(g.members, func(m *Member) bool { return m.Instance == c.conn })
	}
	return slices.Contains(w.answering(to), c.conn)
}

// answering returns the instances that answer to an address.
func (w *World) answering(ip string) []string {
	if a := w.addresses[ip]; a != nil {
		return w.holdersOf(a)
	}
	if n := w.byIP[ip]; n != nil && n.attached {
		return []string{n.Holder}
	}
	return nil
}
