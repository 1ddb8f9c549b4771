package spec

import (
	"strings"
	"testing"
	"time"
)

func powerSite(power string) File {
	return File{"site.yaml", []byte("apiVersion: relight/v1alpha1\nkind: Site\nmetadata: {name: host-1}\nspec:\n  kind: host\n  power: " + power + "\n")}
}

func TestPowerLevels(t *testing.T) {
	docs, err := Parse(powerSite(`{levels: [{all: [{command: [fence_ipmilan], plug: "1", timeout: 5s}]}, {all: [{command: [fence_apc], plug: "3"}, {command: [fence_apc], plug: "4"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	s, err := Site(docs[0])
	if err != nil {
		t.Fatal(err)
	}
	order := s.Spec.Power.Order()
	if len(order) != 2 || len(order[0].All) != 1 || len(order[1].All) != 2 || order[1].All[1].Plug != "4" || order[1].All[0].Timeout != defaultPowerTimeout {
		t.Errorf("levels: %+v", order)
	}
	if got := s.Spec.Power.Within(); got != 2*5*time.Second+2*defaultPowerTimeout.Std() {
		t.Errorf("within %s", got)
	}
}

func TestPowerForms(t *testing.T) {
	for power, want := range map[string]string{
		`{plug: "1"}`:            "command",
		`{command: [fence_apc]}`: `required field "plug" is missing`,
		`{command: [fence_apc], plug: "1", levels: [{all: [{command: [fence_apc], plug: "1"}]}]}`: "levels",
		`{plug: "1", levels: [{all: [{command: [fence_apc], plug: "1"}]}]}`:                       "stand beside levels",
		`{levels: [{all: []}]}`: "all",
		`{levels: []}`:          "levels",
		`{levels: [{all: [{command: [fence_apc], plug: "1"}, {command: [fence_apc], plug: "1"}]}]}`: `plug "1" is there twice`,
		`{command: [fence_apc], plug: "1", options: {action: "on"}}`:                                `the option "action" is not yours to set`,
		`{command: [fence_apc], plug: "1", options: {password: x}}`:                                 "would hold a secret",
	} {
		if _, err := Parse(powerSite(power)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", power, err, want)
		}
	}
}
