package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
)

// Coded is an error that knows the exit code of the command that ends with it.
// A *client.Problem is one.
type Coded interface {
	error
	Exit() client.Exit
}

// silent ends a command with a code after it has said everything itself.
type silent struct{ code client.Exit }

func (s silent) Error() string { return fmt.Sprintf("exit %d", s.code) }

// Exit implements Coded.
func (s silent) Exit() client.Exit { return s.code }

// exitWith returns nil for ExitOK.
func exitWith(code client.Exit) error {
	if code == client.ExitOK {
		return nil
	}
	return silent{code}
}

// compares marks commands for which 1 means "differs".
const compares = "relight/compares"

// Compares is the annotation of commands of other packages for which 1 means "differs".
const Compares = compares

// ExitWith ends a command of another package with a code, after it has said everything
// itself.
func ExitWith(code client.Exit) error { return exitWith(code) }

// report tells a person about the error and returns the exit code.
func (a *app) report(ctx context.Context, cmd *cobra.Command, err error) client.Exit {
	code := client.ExitFailed
	var coded Coded
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(a.Err, "interrupted; what the engine has begun goes on")
		return client.ExitInterrupted
	case errors.As(err, &coded):
		code = coded.Exit()
	}
	var s silent
	if errors.As(err, &s) {
		return code
	}
	if code == client.ExitFailed && cmd != nil && cmd.Annotations[compares] != "" {
		code = client.ExitUsage
	}
	a.tell(err)
	return code
}

func (a *app) tell(err error) {
	var p *client.Problem
	if !errors.As(err, &p) {
		// Errors of what runs on this machine end with "; next: COMMAND" themselves.
		what, next, ok := strings.Cut(err.Error(), "; next: ")
		if !ok {
			next = "relight help"
		}
		fmt.Fprintf(a.Err, "error: %s\nnext: %s\n", what, next)
		return
	}
	if a.flags.output == "json" {
		enc := json.NewEncoder(a.Err)
		enc.SetIndent("", "  ")
		_ = enc.Encode(p)
		return
	}
	fmt.Fprintf(a.Err, "error: %s (%s)\n", p.Detail, p.Code)
	for _, f := range p.Fields {
		fmt.Fprintf(a.Err, "  %s: %s\n", f.Where, f.Message)
	}
	if p.Next != "" {
		fmt.Fprintf(a.Err, "next: %s\n", p.Next)
	}
}
