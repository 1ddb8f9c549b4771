package cli

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
)

// confirm makes sure that a person means what can do harm: on a terminal the
// name must be typed, elsewhere --yes must be given.
func (a *app) confirm(cmd *cobra.Command, yes bool, name, deed string) error {
	if yes {
		return nil
	}
	if !a.InTerminal {
		return usage(cmd, "this would %s; nobody is there to confirm it, so --yes is needed", deed)
	}
	_, _ = fmt.Fprintf(a.Err, "This will %s.\nType %s to go on: ", deed, name)
	line, err := bufio.NewReader(a.In).ReadString('\n')
	if strings.TrimSpace(line) != name || (err != nil && line == "") {
		return client.NewProblem(client.CodeBadRequest, "not confirmed; nothing was done").WithNext("%s --help", cmd.CommandPath())
	}
	return nil
}

func yesFlag(cmd *cobra.Command, yes *bool) {
	cmd.Flags().BoolVar(yes, "yes", false, "do not ask for a confirmation")
}
