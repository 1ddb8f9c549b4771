package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"relight/internal/api/client"
	"relight/internal/audit"
	"relight/internal/core/event"
	"relight/internal/core/fleet"
)

// tokenFor is how long a join token is good if nobody says.
const tokenFor = time.Hour

func durationOf(d time.Duration) fleet.Duration { return fleet.Duration(max(d, 0)) }

func brokenAt(err error) uint64 {
	var bad *audit.BadEntryError
	if errors.As(err, &bad) {
		return bad.Seq
	}
	return 0
}

// Hosts implements api.Backend.
func (b *Backend) Hosts(context.Context) (client.List[client.HostRow], error) {
	now := b.Clock.Now()
	var list client.List[client.HostRow]
	running := map[string][]string{}
	for _, s := range b.State.Servers() {
		if st := b.State.Status(s.Name); st.Host != "" {
			running[st.Host] = append(running[st.Host], s.Name)
		}
	}
	spare := map[string]string{}
	for _, h := range b.Spares.Now().Hosts {
		spare[h.Host] = "yes"
		if len(h.Homeless) > 0 {
			spare[h.Host] = fmt.Sprintf("no: %d of %d, such as %s", len(h.Homeless), h.Servers, h.Homeless[0].Server)
		}
	}
	for _, h := range b.Viewer.hosts(fleet.Server{}, now) {
		list.Items = append(list.Items, client.HostRow{
			Name: h.Name, Sites: h.Sites, InContact: h.InContact.String(), Since: h.Since, Units: h.Units, UsedUnits: h.UsedUnits,
			StorageBeat: map[fleet.Answer]string{fleet.Yes: fleet.Yes.String(), fleet.No: fleet.No.String()}[h.StorageBeat],
			Power:       h.Power, Servers: running[h.Name], Closed: h.Closed, Spare: spare[h.Name], Standbys: h.Warm,
		})
	}
	return list, nil
}

// Spare implements api.Backend.
func (b *Backend) Spare(context.Context) (client.SpareView, error) {
	s := b.Spares.Now()
	return client.SpareView{At: b.Clock.Now(), Hosts: s.Hosts, Sites: s.Sites}, nil
}

// CreateJoinToken implements api.Backend.
func (b *Backend) CreateJoinToken(ctx context.Context, by string, req client.JoinTokenRequest) (client.JoinToken, error) {
	if b.Enrolment == nil {
		return client.JoinToken{}, problem(client.CodeUnsupported, "this controller has no hosts of its own")
	}
	lasts := req.For.Std()
	if lasts <= 0 {
		lasts = tokenFor
	}
	token, err := b.Enrolment.Authority.MakeToken(ctx, b.Enrolment.Vault, req.Host, lasts)
	if err != nil {
		return client.JoinToken{}, problem(client.CodeBadRequest, "%v", err)
	}
	now := b.Clock.Now()
	err = b.Journal.Do(ctx, now, func(tx *Tx) error {
		tx.Emit(event.Event{Kind: event.GuardSet, Host: req.Host, By: by, Message: by + " makes a join token for host " + orAny(req.Host)})
		return nil
	})
	out := client.JoinToken{Token: token.Text(), Host: req.Host, Until: now.Add(lasts)}
	out.Command = "relight agent host --controller " + b.Enrolment.URL + " --name " + orName(req.Host) + " --token-file FILE"
	return out, err
}

func orAny(host string) string {
	if host == "" {
		return "of any name"
	}
	return host
}

func orName(host string) string {
	if host == "" {
		return "NAME"
	}
	return host
}

// RemoveHost implements api.Backend. A host that still holds an instance stays:
// its epoch could no longer be fenced through it.
func (b *Backend) RemoveHost(ctx context.Context, by, name string) error {
	if b.Enrolment == nil {
		return problem(client.CodeUnsupported, "this controller has no hosts of its own")
	}
	if b.State.Revision(kindHost, name) == 0 {
		return problem(client.CodeNotFound, "there is no host %q", name).WithNext("relight get hosts")
	}
	for _, s := range b.State.Servers() {
		if b.State.Status(s.Name).Host == name {
			return problem(client.CodeRefused, "server %s runs on %s", s.Name, name).WithNext("relight heal %s --rung relaunch", s.Name)
		}
	}
	if err := b.Enrolment.Forget(ctx, name); err != nil {
		return err
	}
	b.Collector.RemoveHost(name)
	return b.set(ctx, event.Event{Kind: event.GuardSet, Host: name, By: by, Message: by + " removes host " + name}, func(*Tx) error { return nil })
}

// Doctor implements api.Backend.
func (b *Backend) Doctor(ctx context.Context) (client.DoctorReport, error) {
	return client.DoctorReport{At: b.Clock.Now(), Checks: b.Examine(ctx)}, nil
}
