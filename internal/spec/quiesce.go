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
	return &shape{form: object, name: "Quiesce", doc: "A program that a planned move runs before it stops the server.", fields: []field{
		{
			name: "command", doc: "Program and arguments, run on the server's host with RELIGHT_SERVER and RELIGHT_EPOCH in its environment; no shell is involved. `${volume:NAME}` and `${address:N}` are replaced as in template.process. It may be run more than once, and if it fails it must leave the server as it was.",
			required: true, example: `["/usr/local/bin/flush-web", "${address:0}"]`,
			shape: &shape{form: list, min: 1, max: 1024, elem: &shape{form: text, format: argument()}},
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
