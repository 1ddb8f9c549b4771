package link

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"relight/internal/beat"
	"relight/internal/core/fleet"
	"relight/internal/provider"
)

// Errors of decoding.
var (
	ErrVersion   = errors.New("message has another version")
	ErrTooLong   = errors.New("message is too long")
	ErrMalformed = errors.New("message is malformed")
)

// Message is a body that can be decoded.
type Message interface {
	*JoinRequest | *JoinReply | *RenewRequest | *RenewReply | *Work | *WorkReply | *Result | *Report | *Beats
	// check refuses what no sender of ours makes.
	check() error
}

// Decode reads one message of at most limit bytes. Unknown fields are passed
// over, so that a newer sender of the same version may add some.
func Decode[M Message](r io.Reader, limit int64, into M) error {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return fmt.Errorf("read message: %w", err)
	}
	if int64(len(data)) > limit {
		return ErrTooLong
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return into.check()
}

// Cut shortens a text for people to what a message may carry.
func Cut(text string) string {
	if len(text) <= MaxText {
		return text
	}
	end := MaxText - len("…")
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

// checker collects the first thing that is wrong.
type checker struct{ err error }

func (c *checker) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
	}
}

func (c *checker) version(v int) {
	if v != Version && c.err == nil {
		c.err = fmt.Errorf("%w: %d, this is %d", ErrVersion, v, Version)
	}
}

func (c *checker) text(what, s string, most int) {
	if len(s) > most {
		c.fail("%s has %d bytes", what, len(s))
	}
}

func (c *checker) list(what string, n int) {
	if n > MaxList {
		c.fail("%d %s", n, what)
	}
}

// server takes names that beats can carry and that are safe in file names.
func (c *checker) server(name string) {
	if beat.CheckName(name) != nil || strings.ContainsAny(name, "/\\") || name == "." || name == ".." {
		c.fail("server name %.80q", name)
	}
}

func (c *checker) answer(a fleet.Answer) {
	if a < fleet.CannotTell || a > fleet.No {
		c.fail("answer %d", a)
	}
}

func (m *JoinRequest) check() error {
	var c checker
	c.version(m.V)
	c.text("host", m.Host, 63)
	c.text("token", m.Token, 256)
	c.text("certificate request", string(m.CSR), 4096)
	return c.err
}

func (m *JoinReply) check() error {
	var c checker
	c.version(m.V)
	if len(m.BeatKey) != beat.KeySize || m.Agent == 0 || len(m.Cert) == 0 || len(m.Authority) == 0 {
		c.fail("join reply is incomplete")
	}
	return c.err
}

func (m *RenewRequest) check() error {
	var c checker
	c.version(m.V)
	c.text("certificate request", string(m.CSR), 4096)
	return c.err
}

func (m *RenewReply) check() error {
	var c checker
	c.version(m.V)
	if len(m.Cert) == 0 {
		c.fail("renewal without a certificate")
	}
	return c.err
}

func (m *Work) check() error {
	var c checker
	c.version(m.V)
	c.list("commands", len(m.Knows))
	c.text("controller", m.Controller, 64)
	return c.err
}

func (m *WorkReply) check() error {
	var c checker
	c.version(m.V)
	c.list("commands", len(m.Commands))
	for i := range m.Commands {
		m.Commands[i].check(&c)
	}
	if m.Watch != nil {
		m.Watch.check(&c)
	}
	return c.err
}

func (m *Command) check(c *checker) {
	c.server(m.Step.Server)
	if m.ID == "" || len(m.ID) > 256 || m.Step.Epoch == 0 || m.Within < 0 {
		c.fail("command %.80q for epoch %d", m.ID, m.Step.Epoch)
	}
}

func (m *Watch) check(c *checker) {
	c.list("servers", len(m.Servers))
	c.list("peers", len(m.Peers))
	for i := range m.Servers {
		c.server(m.Servers[i].Server)
		c.list("heirs", len(m.Servers[i].Heirs))
	}
	for i := range m.Peers {
		p := &m.Peers[i]
		if len(p.To) != beat.KeySize || len(p.From) != beat.KeySize {
			c.fail("peer %.80q has no keys", p.Host)
		}
	}
}

func (m *Result) check() error {
	var c checker
	c.version(m.V)
	c.list("evidence", len(m.Evidence))
	c.text("error", m.Error, MaxText)
	c.text("detail", m.Detail, MaxText)
	switch m.Class {
	case "", provider.Retry, provider.Capacity, provider.NotFound, provider.Conflict, provider.Refused, provider.Permanent:
	default:
		c.fail("error class %.80q", m.Class)
	}
	if m.Report != nil && c.err == nil {
		return m.Report.check()
	}
	return c.err
}

func (m *Beats) check() error {
	var c checker
	c.version(m.V)
	c.list("datagrams", len(m.Datagrams))
	for _, d := range m.Datagrams {
		if len(d) > beat.MaxDatagram {
			c.fail("datagram of %d bytes", len(d))
		}
	}
	return c.err
}

func (m *Report) check() error {
	var c checker
	c.version(m.V)
	c.text("run", m.Run, 64)
	c.text("boot", m.Boot, 64)
	c.text("full", m.Full, MaxText)
	c.text("peer address", m.PeerAddr, 64)
	c.list("instances", len(m.Instances))
	c.list("volumes", len(m.Volumes))
	c.list("addresses", len(m.Addresses))
	c.list("contests", len(m.Contests))
	c.list("checks", len(m.Checks))
	c.list("probes", len(m.Probes))
	c.list("pings", len(m.Pings))
	c.list("storage beats", len(m.StorageBeats))
	c.list("kernels", len(m.Kernels))
	if m.Units < 0 || m.UsedUnits < 0 {
		c.fail("%d of %d units", m.UsedUnits, m.Units)
	}
	c.answer(m.StorageBeat)
	c.list("warm", len(m.Warm))
	for _, w := range m.Warm {
		c.server(w.Server)
		if w.Units < 0 {
			c.fail("standby of %d units", w.Units)
		}
	}
	if m.Hypervisor != nil {
		c.text("hypervisor", m.Hypervisor.Detail, MaxText)
	}
	if w := m.Watchdog; w != nil {
		c.text("watchdog", w.Device, MaxText)
		c.text("watchdog's trouble", w.Trouble, MaxText)
	}
	for _, i := range m.Instances {
		c.instance(i)
	}
	for _, v := range m.Volumes {
		c.server(v.Server)
		c.answer(v.Held)
	}
	for _, a := range m.Addresses {
		c.server(a.Server)
	}
	for _, x := range m.Contests {
		c.server(x.Server)
		c.text("address", x.IP, 64)
		c.text("detail", x.By, MaxText)
	}
	for _, list := range [][]Answer{m.Checks, m.Probes} {
		for _, a := range list {
			c.server(a.Server)
			c.answer(a.Alive)
			c.answer(a.Works)
			c.text("detail", a.Detail, MaxText)
		}
	}
	for _, list := range [][]HostAnswer{m.Pings, m.StorageBeats, m.Kernels} {
		for _, a := range list {
			c.answer(a.Alive)
			c.text("host", a.Host, 63)
			c.text("detail", a.Detail, MaxText)
		}
	}
	return c.err
}

func (c *checker) instance(i Instance) {
	c.server(i.Server)
	c.answer(i.Alive)
	c.text("detail", i.Detail, MaxText)
	switch i.State {
	case fleet.InstancePending, fleet.InstanceRunning, fleet.InstanceStopping, fleet.InstanceStopped,
		fleet.InstanceTerminated, fleet.InstanceReaped, fleet.InstanceLost:
	default:
		c.fail("instance state %.80q", i.State)
	}
	if i.Epoch == 0 {
		c.fail("instance of %s has no epoch", i.Server)
	}
}
