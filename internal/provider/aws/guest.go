package aws

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"relight/internal/core/fleet"
	"relight/internal/provider"
	"relight/internal/provider/guest"
)

// userData is what an instance of the call's epoch is started with, so that the guest
// agent knows who it is; nil for servers without one. What the spec or the launch
// template has is kept.
func (p *Provider) userData(ctx context.Context, call provider.Call) ([]byte, error) {
	if !call.Server.Spec.GuestAgent() {
		return nil, nil
	}
	if p.opt.Guests == nil {
		return nil, provider.Errorf(provider.Permanent, call, "%w", guest.ErrClosed)
	}
	ours, err := p.opt.Guests.UserData(call.Server, call.Step.Epoch)
	if err != nil {
		return nil, provider.Errorf(provider.Permanent, call, "%w", err)
	}
	theirs, err := p.ownUserData(ctx, *call.Server.Spec.Template.EC2)
	if err != nil {
		return nil, err
	}
	data, err := guest.Combine(theirs, ours)
	if errors.Is(err, guest.ErrTooLong) || errors.Is(err, guest.ErrForeign) {
		return nil, provider.Errorf(provider.Permanent, call, "%w", err)
	}
	return data, err
}

// ownUserData is the server's user data without ours: what its spec says, else what the
// launch template has.
func (p *Provider) ownUserData(ctx context.Context, t fleet.EC2Template) ([]byte, error) {
	if t.Launch != nil && t.Launch.UserData != "" {
		return base64.StdEncoding.DecodeString(t.Launch.UserData)
	}
	if t.LaunchTemplate == "" {
		return nil, nil
	}
	key := fmt.Sprintf("%s %d", t.LaunchTemplate, t.Version)
	if data, ok := p.theirs.Load(key); ok {
		return data.([]byte), nil
	}
	data, err := p.opt.Cloud.TemplateUserData(ctx, t.LaunchTemplate, t.Version)
	if err == nil {
		p.theirs.Store(key, data)
	}
	return data, err
}

// renewUserData tells the guest of a stopped instance its new epoch. Only instances
// that were launched with our agent are told: what others have is not ours.
func (p *Provider) renewUserData(ctx context.Context, call provider.Call, m Machine) error {
	if m.Tags[TagGuest] == "" {
		return nil
	}
	data, err := p.userData(ctx, call)
	if err != nil || data == nil {
		return err
	}
	return p.opt.Cloud.SetUserData(ctx, m.ID, data)
}

// anothers reports that a guest agent runs on another instance than the machine.
func anothers(w guest.Word, m Machine) bool { return w.Instance != "" && w.Instance != m.ID }

// wordFor is how long a guest agent's word counts: several of its reports.
const wordFor = 30 * time.Second

// guest is what the guest agent says of the server; says is false if nothing follows
// from it. One that has not spoken since its epoch began leaves the question open: a
// status check that passes is not enough (S14). One that falls silent after
// a yes changes nothing by that: the end of an agent harms no server (S16).
func (p *Provider) guest(server fleet.Server, m Machine, in fleet.Instance, now time.Time) (sig fleet.Signal, says bool) {
	if p.opt.Guests == nil || !server.Spec.GuestAgent() {
		return fleet.Signal{}, false
	}
	sig = fleet.Signal{
		Source:   fleet.Source{Channel: fleet.ChannelApp, Vantage: p.opt.Region},
		Question: fleet.Works, Epoch: in.Epoch, At: now, Since: now, Detail: "its guest agent has not spoken yet",
	}
	word, ok := p.opt.Guests.Told(server.Name)
	switch {
	case !ok || word.Epoch != in.Epoch:
		return sig, true
	case anothers(word, m): // a copy of it says nothing of it, nor it of the copy (S13)
		sig.Detail = "its guest agent has not spoken yet; what " + word.Instance + " says for the epoch is not its own"
		return sig, true
	case word.Over:
		sig.Detail = "its guest agent has not spoken since the reboot"
		return sig, true
	case now.Sub(word.At) > wordFor && word.Works == fleet.Yes:
		return fleet.Signal{}, false
	case now.Sub(word.At) > wordFor:
		sig.Detail = "its guest agent is silent, and said last: " + word.Detail
		return sig, true
	}
	sig.Answer, sig.At, sig.Since, sig.Detail = word.Works, word.At, word.Since, "its guest agent says: "+word.Detail
	return sig, true
}
