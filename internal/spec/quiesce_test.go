package spec

import (
	"strings"
	"testing"
	"time"

	"relight/internal/core/fleet"
)

func quiesced(t *testing.T, template, quiesce string) (fleet.Server, error) {
	t.Helper()
	text := "apiVersion: relight/v1alpha1\nkind: Server\nmetadata: {name: db-1}\nspec:\n  identity: {volumes: [" + template + "\n  quiesce: " + quiesce + "\n"
	docs, err := Parse(File{Name: "q.yaml", Data: []byte(text)})
	if err != nil {
		return fleet.Server{}, err
	}
	return mustPolicies(t).Effective(docs[0])
}

func mustPolicies(t *testing.T) *Policies {
	t.Helper()
	p, err := NewPolicies(nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestQuiesce(t *testing.T) {
	const (
		process = "{name: data, path: /srv/data}]}\n  template: {process: {command: [/bin/db]}}"
		machine = "{name: data, lun: {array: san-1}}]}\n  template: {vm: {kernel: /vmlinuz}}"
		cloud   = "{name: data, id: vol-1}]}\n  template: {ec2: {image: ami-1}}"
	)
	s, err := quiesced(t, process, `{command: [/bin/flush, "${volume:data}"]}`)
	if err != nil {
		t.Fatal(err)
	}
	if q := s.Spec.Quiesce; q == nil || q.Within != fleet.Duration(30*time.Second) || q.OnFailure != fleet.QuiesceRefuse {
		t.Errorf("filled in: %+v", q)
	}
	s, err = quiesced(t, machine, `{command: [/bin/flush], within: 5s, onFailure: goOn}`)
	if err != nil || s.Spec.Quiesce.Within != fleet.Duration(5*time.Second) || s.Spec.Quiesce.OnFailure != fleet.QuiesceGoOn {
		t.Errorf("%+v, %v", s.Spec.Quiesce, err)
	}
	s, err = quiesced(t, strings.Replace(machine, "kernel", "guestBeat: true, kernel", 1), `{guest: true, within: 5s}`)
	if err != nil || !s.Spec.Quiesce.Guest || s.Spec.Quiesce.OnFailure != fleet.QuiesceRefuse {
		t.Errorf("%+v, %v", s.Spec.Quiesce, err)
	}
	for _, c := range []struct{ template, quiesce, want string }{
		{machine, `{guest: true}`, "no guest would hear it"},
		{process, `{guest: true}`, "no guest would hear it"},
		{machine, `{guest: true, command: [/bin/flush]}`, "either command or guest"},
		{machine, `{guest: false}`, "either command or guest"},
		{cloud, `{command: [/bin/flush]}`, "nobody would run it"},
		{process, `{command: [/bin/flush, "${volume:dat}"]}`, "names no volume"},
		{machine, `{command: [/bin/flush, "${volume:data}"]}`, "has no path on the host"},
		{process, `{command: [""]}`, "the program has no name"},
		{process, `{command: []}`, "command"},
		{process, `{within: 5s}`, "command"},
		{process, `{command: [/bin/flush], onFailure: maybe}`, "maybe"},
		{process, `{command: [/bin/flush], within: 2h}`, "within"},
	} {
		if _, err := quiesced(t, c.template, c.quiesce); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.quiesce, err, c.want)
		}
	}
}
