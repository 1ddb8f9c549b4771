package beat

import (
	"crypto/cipher"
	"fmt"
	"math/rand/v2"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/core/lease"
)

const (
	// inFlight is how many datagrams a sender remembers until their acks come.
	inFlight = 512
	// missesToSwitch is after how many rounds without an ack the next controller
	// is tried.
	missesToSwitch = 3
	// probeRounds is how often, in rounds, a sender on the detour tries the direct
	// way. While the detour is not answered either it tries both each time.
	probeRounds = 10
	// minGap is the shortest time between two rounds, whatever wakes the sender,
	// so that a flapping server or two disagreeing receivers can't start a flood.
	minGap = int64(20 * time.Millisecond)
)

// SenderConfig is what a Sender needs to know.
type SenderConfig struct {
	Agent AgentID
	Key   Key
	Kind  Kind
	// Every is the mean time between beats; each is drawn from ±10 % of it, so
	// that agents that were started together spread out.
	Every time.Duration
	// Targets is how many controllers there are; one is spoken to at a time.
	Targets int
	// Detour says that there is another way to a controller, for when datagrams are
	// not answered.
	Detour bool
	// Start is the counter's start, see [CounterStart].
	Start uint64
	// DriftPPM and Margin are the bounds of the lease, see [lease.HolderDeadline].
	DriftPPM int64
	Margin   time.Duration
	// Rand draws the jitter and the salt.
	Rand *rand.Rand
}

// CounterStart returns a counter above all that the agent used before: it counts
// beats, of which there are fewer than nanoseconds. It is taken from the wall clock,
// because CLOCK_BOOTTIME starts again with each boot. Should the wall clock have
// been set back, the receiver's first ack raises the counter.
func CounterStart(wall time.Time) uint64 { return uint64(max(wall.UnixNano(), 1)) }

// Lease is a sender's right to hold its instances.
type Lease struct {
	// Until is when the holder must have stopped, on its own clock; 0 if no lease
	// was ever granted.
	Until int64
	// Term is the highest controller term that was seen.
	Term fleet.Term
	// Longest is the longest lease that a controller of that term has granted; 0 if
	// none was. A controller grants less towards the end of its own authority.
	Longest time.Duration
}

// Datagrams is what a sender wants sent.
type Datagrams struct {
	// Target is the index of the controller.
	Target int
	// Sealed are the datagrams; the list is valid until the next call of Step.
	Sealed [][]byte
	// Detour says that they go the other way, to whichever controller is there.
	Detour bool
	// Probe, if not nil, goes to Target all the same: it asks whether datagrams are
	// answered again.
	Probe []byte
}

// Sender is an agent's end as a step machine. It is not safe for concurrent use.
type Sender struct {
	cfg     SenderConfig
	aead    cipher.AEAD
	sealer  sealer
	salt    uint32
	next    uint64 // the next counter
	flights [inFlight]flight
	session []uint64 // by target, the detour's last; 0 = unknown
	newest  []uint64 // likewise: counter of the newest ack
	target  int
	detour  bool
	misses  int // rounds without an ack, the present way
	tried   int // targets given up since the last ack
	unasked int // rounds since the direct way was probed
	due     int64
	sentAt  int64
	started bool
	lease   Lease
	work    bool
	bufs    [][]byte
}

// flight is a datagram whose ack has not come.
type flight struct {
	counter uint64
	sentAt  int64
	way     int
}

// NewSender returns a sender that is due at once.
func NewSender(cfg SenderConfig) *Sender {
	return &Sender{
		cfg: cfg, aead: newAEAD(&cfg.Key), salt: cfg.Rand.Uint32() & 0xffffff,
		next: max(cfg.Start, 1), session: make([]uint64, cfg.Targets+1), newest: make([]uint64, cfg.Targets+1),
	}
}

// Due is when Step has something to do next.
func (s *Sender) Due() int64 { return s.due }

// Lease returns the lease as granted so far.
func (s *Sender) Lease() Lease { return s.lease }

// Detour reports whether beats take the other way, because datagrams were not
// answered.
func (s *Sender) Detour() bool { return s.detour }

// Work reports whether the newest ack said that work is waiting.
func (s *Sender) Work() bool { return s.work }

// Nudge makes a beat due at once, because something has changed.
func (s *Sender) Nudge(now int64) {
	soon := now
	if s.started {
		soon = max(now, s.sentAt+minGap)
	}
	s.due = min(s.due, soon)
}

// Step returns what is to be sent now; nothing before Due. now is read before the
// datagrams are sent, and the lease is counted from it. An item whose name does not
// fit the wire format is left out and returned as an error; the others are sent.
func (s *Sender) Step(now int64, items []Item) (Datagrams, error) {
	if s.started && now < s.due {
		return Datagrams{Target: s.target}, nil
	}
	s.route(now)
	s.started = true
	s.misses++
	s.sentAt = now
	every := int64(s.cfg.Every)
	s.due = now + max(every-every/10+s.cfg.Rand.Int64N(every/5+1), minGap)
	items, err := checked(items)
	out := Datagrams{Detour: s.detour, Probe: s.probe(now)}
	out.Target = s.target
	s.bufs = s.bufs[:0]
	if s.session[s.way()] == 0 {
		items = nil // a hello proves nothing; one short datagram asks for the session
	}
	for {
		n := fit(items)
		s.bufs = append(s.bufs, s.datagram(now, s.way(), items[:n]))
		items = items[n:]
		if len(items) == 0 || len(s.bufs) == inFlight {
			break
		}
	}
	out.Sealed = s.bufs
	return out, err
}

// checked returns the items whose names fit the wire format.
func checked(items []Item) ([]Item, error) {
	for i := range items {
		err := CheckName(items[i].Server)
		if err == nil {
			continue
		}
		good := append([]Item(nil), items[:i]...)
		for _, it := range items[i+1:] {
			if CheckName(it.Server) == nil {
				good = append(good, it)
			}
		}
		return good, err
	}
	return items, nil
}

func (s *Sender) datagram(now int64, way int, items []Item) []byte {
	b := Beat{
		Agent: s.cfg.Agent, Counter: s.next, Salt: s.salt, Session: s.session[way],
		SentAt: now, Kind: s.cfg.Kind, Items: items,
	}
	s.flights[s.next%inFlight] = flight{counter: s.next, sentAt: now, way: way}
	s.next++
	return s.sealer.seal(s.aead, appendBeat(make([]byte, 0, MaxDatagram), &b))
}

// Acked takes an ack; the datagram is overwritten. It returns an error if the ack
// is not for us, not for a beat in flight, or of an older term.
func (s *Sender) Acked(now int64, datagram []byte) error {
	agent, err := header(datagram, typeAck)
	if err != nil {
		return err
	}
	if agent != s.cfg.Agent {
		return fmt.Errorf("ack for agent %d: %w", agent, ErrUnknownAgent)
	}
	plain, err := s.sealer.open(s.aead, datagram)
	if err != nil {
		return err
	}
	ack, err := parseAck(agent, plain)
	if err != nil {
		return err
	}
	f := s.flights[ack.Counter%inFlight]
	if ack.Counter == 0 || f.counter != ack.Counter {
		return ErrUnasked
	}
	if ack.Term < s.lease.Term {
		return fmt.Errorf("term %d after %d: %w", ack.Term, s.lease.Term, ErrOldTerm)
	}
	s.flights[ack.Counter%inFlight] = flight{}
	s.take(now, f, ack)
	return nil
}

// take updates the sender by an ack that is genuine and was waited for.
func (s *Sender) take(now int64, f flight, ack Ack) {
	if ack.Term != s.lease.Term {
		s.lease.Term, s.lease.Longest = ack.Term, 0
	}
	if ack.Highest >= s.next && ack.Highest+1 != 0 {
		s.next = ack.Highest + 1
	}
	if ack.Lease > 0 {
		until := lease.HolderDeadline(f.sentAt, ack.Lease, s.cfg.DriftPPM, s.cfg.Margin)
		s.lease.Until = max(s.lease.Until, until)
		s.lease.Longest = max(s.lease.Longest, ack.Lease)
	}
	s.answered(f.way)
	if ack.Counter < s.newest[f.way] {
		return // overtaken: the newer ack knows the session and the work better
	}
	s.newest[f.way] = ack.Counter
	s.work = ack.Work
	s.session[f.way] = ack.Session
	if ack.Hello && f.way == s.way() {
		s.Nudge(now)
	}
}
