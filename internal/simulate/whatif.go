package simulate

import (
	"fmt"
	"strings"
	"time"

	"relight/internal/spec"
)

// WhatIfOptions say what is lost and how, and what the documents do not tell.
type WhatIfOptions struct {
	// Cut cuts the places off instead of losing them: what runs there goes on.
	Cut bool
	// Links are those that Cut cuts, as in the fault language; empty means
	// control,peers,storage.
	Links string
	// Units is the capacity of each host; 0 means enough for all servers.
	Units int
	// For is how long it looks at most; 0 means 30 minutes after the loss. It ends
	// earlier once nothing changes any more.
	For time.Duration
	// Seed draws the delays; 0 means 1.
	Seed uint64
}

// Outcomes of a server.
const (
	// Untouched servers go on where they ran.
	Untouched = "untouched"
	// Returns means that it is verified in a new instance, or in place.
	Returns = "returns"
	// Asks means that it waits for a person's approval, or that it would only say
	// what it would do.
	Asks = "asks"
	// NeedsPerson means that only a person can help further.
	NeedsPerson = "needsPerson"
	// Waits means that something holds it that may pass by itself.
	Waits = "waits"
	// NeverStarted means that no host could take it even before the loss.
	NeverStarted = "neverStarted"
)

// Fate is what happens to one server. Times are seconds after the loss, absent if
// it never came to that.
type Fate struct {
	Server  string `json:"server"`
	Outcome string `json:"outcome"`
	// From is the host that it ran on, To the one that it runs on in the end; on a
	// cloud they are zones.
	From     string   `json:"from,omitempty"`
	To       string   `json:"to,omitempty"`
	Detected *float64 `json:"detected,omitempty"`
	Fenced   *float64 `json:"fenced,omitempty"`
	Started  *float64 `json:"started,omitempty"`
	Verified *float64 `json:"verified,omitempty"`
	// Outage is for how many seconds users get no answer; absent if it lasts until
	// the end, see Serves.
	Outage *float64 `json:"outage,omitempty"`
	// Serves is whether users get answers in the end, Users what they see, in words.
	Serves bool   `json:"serves"`
	Users  string `json:"users"`
	// Gate is what holds it, Reason why; empty if nothing does.
	Gate   string `json:"gate,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Approved is what would follow if people approved at once, for Asks.
	Approved *Fate `json:"approved,omitempty"`

	touched bool
}

// Answer is what would happen.
type Answer struct {
	// Asked are the names that were given, Lost the hosts that they stand for, Cut
	// whether they are cut off and not lost.
	Asked []string `json:"asked"`
	Lost  []string `json:"lost"`
	Cut   bool     `json:"cut"`
	// Assumed is what the documents do not say.
	Assumed  []string `json:"assumed"`
	Servers  []Fate   `json:"servers"`
	Timeline []Moment `json:"timeline"`
	// Looked is for how many seconds after the loss.
	Looked float64 `json:"looked"`
}

// Moment is one line of an answer's timeline.
type Moment struct {
	At   float64 `json:"at"`
	What string  `json:"what"`
	Text string  `json:"text"`
}

// Unknown means that a host or site to be lost is not in the documents.
type Unknown struct{ Name, Near string }

// Error names the nearest one that exists.
func (u *Unknown) Error() string {
	text := fmt.Sprintf("there is no host %q in the documents, and no site of that name that holds one", u.Name)
	if u.Near != "" {
		text += fmt.Sprintf(": did you mean %q?", u.Near)
	}
	return text
}

// WhatIf makes a world of the user's own documents, lets Relight place their
// servers, loses the named hosts or sites for ever, and tells what becomes of each
// server. The hosts are the Sites of kind host; on a cloud each zone has hardware of
// its own. Its errors are spec.Problems with places in the files, *Unknown, or a
// sentence that says what the documents lack.
func WhatIf(files []spec.File, lose []string, opt WhatIfOptions) (Answer, error) {
	m, err := newMirror(files, opt)
	if err != nil {
		return Answer{}, err
	}
	hosts, err := m.hostsOf(lose)
	if err != nil {
		return Answer{}, err
	}
	declared, err := m.play(hosts, m.declared)
	if err != nil {
		return Answer{}, err
	}
	a := Answer{
		Asked: lose, Lost: hosts, Cut: opt.Cut, Assumed: m.assumed(), Servers: declared.fates, Timeline: declared.moments,
		Looked: declared.looked.Seconds(),
	}
	asks := false
	for _, f := range a.Servers {
		asks = asks || f.Outcome == Asks
	}
	if !asks {
		return a, nil
	}
	approved, err := m.play(hosts, m.approved)
	if err != nil {
		return Answer{}, err
	}
	for n := range a.Servers {
		if a.Servers[n].Outcome == Asks {
			a.Servers[n].Approved = &approved.fates[n]
		}
	}
	return a, nil
}

// assumed says what the documents do not.
func (m *mirror) assumed() []string {
	d := m.world.Delays
	out := []string{
		fmt.Sprintf("an application works %s to %s after its start, and a call takes up to %s", d.App.Min, d.App.Max, d.Call.Max),
		"nothing else fails; a controller runs outside of what is lost",
	}
	if m.opt.Units > 0 {
		out = append(out, fmt.Sprintf("each host has room for %d units", m.opt.Units))
	} else {
		out = append(out, fmt.Sprintf("each host has room for all %d units of all servers", m.units))
	}
	if m.world.Style == Cloud {
		out = append(out, "each zone has hardware to spare")
	}
	if len(m.bound) > 0 {
		out = append(out, "volumes of reach host lie where their server may run: "+strings.Join(m.bound, ", "))
	}
	return out
}
