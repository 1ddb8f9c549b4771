package spec

import (
	"fmt"
	"strings"
	"time"

	"relight/internal/core/fleet"
)

// The defaults of quiesce.
const (
	defaultQuiesceWithin = fleet.Duration(30 * time.Second)
	defaultQuiesceFails  = fleet.QuiesceRefuse
)

func quiesceShape() *shape {
	return &shape{form: object, name: "Quiesce", doc: "What a planned move does before it stops the server.", fields: []field{
		{
			name: "command", doc: "Program and arguments, run on the server's host with RELIGHT_SERVER and RELIGHT_EPOCH in its environment; no shell is involved. `${volume:NAME}` and `${address:N}` are replaced as in template.process. It may be run more than once, and if it fails it must leave the server as it was.",
			example: `["/usr/local/bin/flush-web", "${address:0}"]`,
			shape:   &shape{form: list, min: 1, max: 1024, elem: &shape{form: text, format: argument()}},
		},
		{
			name: "guest", doc: "Whether the guest agent is asked instead, over the machine's serial channel (template.vm.guestBeat): it holds its own application's writes, runs the guest's program if its `relight.quiesce` names one (with the word freeze; thaw if the stop is called off), and freezes all file systems that have a device. A guest that is frozen is then switched off at once.",
			example: "true", shape: &shape{form: truth},
		},
		{
			name: "within", doc: "How long it may take; then it is killed, and has failed.", example: "30s",
			shape: duration(100*time.Millisecond, time.Hour), def: `"30s"`, why: "clients wait meanwhile, and most programs flush in less",
		},
		{
			name: "onFailure", doc: "What a failure means.", example: "refuse",
			shape: words("What a failure means.",
				option{string(fleet.QuiesceRefuse), "the move is called off; nothing was stopped"},
				option{string(fleet.QuiesceGoOn), "the server is stopped all the same"}),
			def: `"refuse"`, why: "a move can wait, and what could not be flushed might be lost",
		},
	}}
}

func fillQuiesce(q *fleet.Quiesce) *fleet.Quiesce {
	if q == nil {
		return nil
	}
	out := *q
	if out.Within == 0 {
		out.Within = defaultQuiesceWithin
	}
	if out.OnFailure == "" {
		out.OnFailure = defaultQuiesceFails
	}
	return &out
}

// quiesceRules refuses a program that nobody would run, or that could not be run.
func quiesceRules(s fleet.ServerSpec, at reporter) {
	if s.Quiesce == nil {
		return
	}
	switch q, vm := s.Quiesce, s.Template.VM; {
	case q.Guest == (len(q.Command) > 0):
		at("spec.quiesce", "it needs either command or guest", "one of them is done before a planned stop, and only one", "set quiesce.command, or quiesce.guest: true")
		return
	case q.Guest && (vm == nil || !vm.GuestBeat):
		at("spec.quiesce.guest", "no guest would hear it", "only the guest agent of a virtual machine is asked, over its serial channel", "set template.vm.guestBeat: true, or use quiesce.command")
		return
	case q.Guest:
		return
	}
	if s.Template != (fleet.Template{}) && s.Template.Process == nil && s.Template.VM == nil {
		at("spec.quiesce", "nobody would run it", "only hosts with our agents run programs, and only their servers are moved by plan", "remove quiesce, or use template.process or template.vm")
	}
	commandRules(s, "spec.quiesce.command", s.Quiesce.Command, "each planned move would be called off", at)
	for i, arg := range s.Quiesce.Command {
		for _, v := range s.Identity.Volumes {
			if v.Path == "" && strings.Contains(arg, "${volume:"+v.Name+"}") {
				at(fmt.Sprintf("spec.quiesce.command[%d]", i), fmt.Sprintf("volume %q has no path on the host", v.Name), "a virtual machine's disks are seen inside of it only", "name what the program needs itself")
			}
		}
	}
}
