package simulate

import (
	"context"
	"fmt"
	"slices"
	"time"

	"relight/internal/store"
	"relight/internal/store/mem"
)

// The paces of the members of a store.
var (
	// electsAfter is how long members wait for their leader before they elect another,
	// and a leader for its majority before it stops to lead.
	electsAfter = Span{time.Second, 2 * time.Second}
	// catchesUpAfter is how long one takes that returns until it has all records.
	catchesUpAfter = Span{500 * time.Millisecond, 3 * time.Second}
)

// quorum is a store of several members: a log that the leader hands out, of which a
// record is durable once a majority of all members has it. What the log makes is kept
// once, in the engine's store: the leader reads there, and only while it leads a
// majority, so that whoever reads sees all that was acknowledged.
//
// A member that comes back with less than it acknowledged is not counted, neither as a
// vote nor as a copy, until it has all records again.
type quorum struct {
	e       *engine
	members []*member
	leader  *member
	term    uint64
	// applied is the log as far as the engine's store has it; base makes the store on
	// which the log begins.
	applied []*logged
	base    func() (*mem.Store, error)
	// awake counts what members wait for, so that an older wait comes to nothing.
	awake int
	// ready is true while writes and reads get through; see tell.
	ready bool
	// halfway is how many others the next record reaches before its leader dies; less
	// than zero if nothing is armed. fell tells who died.
	halfway int
	fell    func(*member)
	// trusting members count whatever they come back with: for the test that shows what
	// that does.
	trusting bool
}

// member is one of the processes that keep a copy of the log.
type member struct {
	name    string
	log     []*logged
	down    int  // how many faults keep it down
	cut     int  // how many faults keep it from the others
	lost    bool // it has less than it acknowledged
	behind  bool // it hears the leader and has not all records yet
	asLead  uint64
	asLeads bool // it is cut off and believes that it leads
}

// logged is a record of the log. One without changes begins a term.
type logged struct {
	at      time.Time // when it was given to the store
	term    uint64
	txn     store.Txn
	applied bool
	rev     store.Revision
	err     error
}

func newQuorum(e *engine, n int) *quorum {
	q := &quorum{e: e, halfway: -1, ready: true, term: 1}
	for i := range n {
		q.members = append(q.members, &member{name: fmt.Sprintf("m%d", i+1)})
	}
	q.leader = q.members[0]
	q.base = func() (*mem.Store, error) { return mem.New(mem.Options{Now: e.clock.Now}), nil }
	return q
}

// majority is how many copies make a record durable.
func (q *quorum) majority() int { return len(q.members)/2 + 1 }

// joined reports that the others reach the member.
func (m *member) joined() bool { return m.down == 0 && m.cut == 0 }

// votes reports that the member may be counted.
func (m *member) votes() bool { return m.joined() && !m.lost }

// copies are the members that have all that the leader has.
func (q *quorum) copies() (out []*member) {
	for _, m := range q.members {
		if m.votes() && !m.behind {
			out = append(out, m)
		}
	}
	return out
}

// led reports that a leader hears a majority that has all its records.
func (q *quorum) led() bool {
	return q.leader != nil && q.leader.votes() && len(q.copies()) >= q.majority()
}

// commit is one transaction of a client. What it answers is certain unless the error is
// ErrUnavailable: then the record may lie with some members, and may be applied later.
func (q *quorum) commit(via *int, txn store.Txn) (store.Revision, error) {
	if err := txn.Check(); err != nil {
		return 0, err
	}
	m := q.endpoint(via)
	if m == nil {
		return 0, store.ErrUnavailable
	}
	entry := &logged{at: q.e.world.Now(), term: q.term, txn: txn}
	if !m.joined() {
		if m.asLeads { // it believes that it leads: the record stays with it alone
			entry.term = m.asLead
			m.log = append(m.log, entry)
		}
		*via++
		return 0, store.ErrUnavailable
	}
	if q.leader == nil || !q.leader.joined() {
		return 0, store.ErrUnavailable
	}
	q.append(entry)
	switch {
	case !entry.applied:
		return 0, store.ErrUnavailable
	case entry.err != nil:
		return 0, entry.err
	}
	return entry.rev, nil
}

// read reports whether a client can read all that was acknowledged.
func (q *quorum) read(via *int) error {
	m := q.endpoint(via)
	switch {
	case m == nil || !q.led():
		return store.ErrUnavailable
	case !m.joined():
		*via++
		return store.ErrUnavailable
	}
	return nil
}

// endpoint is the member that a client asks: the one it asked last, or the next that
// takes connections. Nil if none does.
func (q *quorum) endpoint(via *int) *member {
	for range q.members {
		if m := q.members[*via%len(q.members)]; m.down == 0 {
			return m
		}
		*via++
	}
	return nil
}

// append gives a record to the leader, which hands it to all that keep up.
func (q *quorum) append(entry *logged) {
	lead, reached := q.leader, 0
	lead.log = append(lead.log, entry)
	for _, m := range q.copies() {
		if m == lead || q.halfway >= 0 && reached == q.halfway {
			continue
		}
		m.log = append(m.log, entry)
		reached++
	}
	if q.halfway >= 0 {
		q.halfway = -1
		lead.down++
		q.fell(lead)
		q.changed()
		return
	}
	q.advance()
}

// advance applies what a majority has: all of the leader's log, for the others have
// just got it, and the last record is of this term.
func (q *quorum) advance() {
	if !q.led() {
		return
	}
	log := q.leader.log
	if n := len(q.applied); n > len(log) || n > 0 && log[n-1] != q.applied[n-1] {
		q.remake()
	}
	for _, entry := range log[min(len(q.applied), len(log)):] {
		q.apply(entry)
	}
}

func (q *quorum) apply(entry *logged) {
	q.applied = append(q.applied, entry)
	if entry.applied = true; len(entry.txn.Ops)+len(entry.txn.Compares) == 0 {
		return
	}
	if entry.rev, entry.err = q.e.store.Commit(context.Background(), entry.txn); entry.err == nil {
		q.e.committed(entry.txn, entry.at)
	}
}

// remake makes the store from the leader's log, which lacks what was acknowledged: with
// members that count only what they have this never happens.
func (q *quorum) remake() {
	made, err := q.base()
	if err != nil {
		q.e.fail(err)
		return
	}
	q.applied = slices.Clone(q.leader.log)
	for _, entry := range q.applied {
		if len(entry.txn.Ops)+len(entry.txn.Compares) > 0 {
			_, _ = made.Commit(context.Background(), entry.txn) // what it refuses now it has no place for
		}
	}
	q.e.store = made
}

// changed is called whenever members have come or gone.
func (q *quorum) changed() {
	q.awake++
	if q.leader != nil && !q.leader.votes() {
		old := q.leader
		q.leader = nil
		if old.down == 0 && old.cut > 0 {
			old.asLeads, old.asLead = true, q.term
			q.e.world.After(q.e.draw(electsAfter), func() { old.asLeads = false })
		}
	}
	for _, m := range q.members {
		m.asLeads = m.asLeads && m.down == 0 && m.cut > 0
	}
	q.advance()
	q.tell()
	if !q.led() {
		q.later(electsAfter, q.elect)
	}
	if q.leader != nil {
		q.later(catchesUpAfter, q.catchUp)
	}
}

// later calls f unless members come or go before.
func (q *quorum) later(in Span, f func()) {
	now := q.awake
	q.e.world.After(q.e.draw(in), func() {
		if q.awake == now {
			f()
		}
	})
}

// catchUp gives the leader's log to all that lack some of it.
func (q *quorum) catchUp() {
	if q.leader == nil {
		return // it has lost its majority since; who leads next hands its log on
	}
	for _, m := range q.members {
		switch {
		case m == q.leader || !m.joined():
		case m.lost && !q.led():
			// Only what a majority of the others has is all that was acknowledged.
		case m.behind || m.lost:
			m.log, m.behind, m.lost = slices.Clone(q.leader.log), false, false
		}
	}
	q.advance()
	q.tell()
}

// elect makes a leader of a member whose log is at least as long as those of a majority.
func (q *quorum) elect() {
	if q.leader != nil && q.standing() < q.majority() {
		q.leader = nil
	}
	if q.leader != nil || q.standing() < q.majority() {
		return
	}
	for _, n := range q.e.rng.Perm(len(q.members)) {
		if m := q.members[n]; m.votes() && q.votesFor(m) >= q.majority() {
			q.lead(m)
			return
		}
	}
}

// standing counts the members that may vote now.
func (q *quorum) standing() (n int) {
	for _, m := range q.members {
		if m.votes() {
			n++
		}
	}
	return n
}

func (q *quorum) votesFor(m *member) (n int) {
	for _, o := range q.members {
		if o.votes() && !o.newer(m) {
			n++
		}
	}
	return n
}

// newer reports that the member has a record that the other one cannot have.
func (m *member) newer(than *member) bool {
	mine, its := m.last(), than.last()
	return mine > its || mine == its && len(m.log) > len(than.log)
}

func (m *member) last() uint64 {
	if len(m.log) == 0 {
		return 0
	}
	return m.log[len(m.log)-1].term
}

// lead begins a term. Members with the same log go on with it, others have to catch up.
func (q *quorum) lead(m *member) {
	q.term++
	q.leader = m
	m.behind = false
	for _, o := range q.members {
		same := len(o.log) == len(m.log) && o.last() == m.last()
		o.behind = o != m && !same
	}
	q.append(&logged{term: q.term})
	q.e.line("store", fmt.Sprintf("member %s leads (term %d)", m.name, q.term))
	q.changed()
}

// tell tells the oracle when the store stops to answer and when it answers again.
func (q *quorum) tell() {
	if ready := q.led(); ready != q.ready {
		q.ready = ready
		q.e.oracle.Trouble("store", !ready)
		if !ready {
			q.e.line("store", "no majority of members answers")
		}
	}
}

// restored begins a new log on a store that people have restored.
func (q *quorum) restored(base func() (*mem.Store, error)) {
	q.base, q.applied = base, nil
	for _, m := range q.members {
		m.log, m.behind, m.lost = nil, false, false
	}
	q.changed()
}

// named returns a member by its name, or the one that leads; nil if there is none.
func (q *quorum) named(name string) *member {
	if name == "leader" {
		return q.leader
	}
	for _, m := range q.members {
		if m.name == name {
			return m
		}
	}
	return nil
}

// fall takes a member down; the returned function brings it back with what is left of
// its log, or all of it if keep is nil.
func (q *quorum) fall(m *member, keep func([]*logged) []*logged) (back func()) {
	m.down++
	q.changed()
	return q.riseWith(m, keep)
}

func (q *quorum) riseWith(m *member, keep func([]*logged) []*logged) func() {
	return func() {
		m.down--
		m.behind = true
		if keep != nil {
			before := len(m.log)
			m.log = keep(m.log)
			m.lost = m.lost || len(m.log) < before && !q.trusting
		}
		q.changed()
	}
}

// part cuts a member from the others; the returned function joins it again.
func (q *quorum) part(m *member) (back func()) {
	m.cut++
	q.changed()
	return func() {
		m.cut--
		m.behind = true
		q.changed()
	}
}
