package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
)

func (a *app) backupCmd() *cobra.Command {
	return &cobra.Command{
		Use: "backup FILE", Short: "Save everything that the engine remembers",
		Long: `Backup writes everything that the engine remembers, as of one moment, to a new
file: documents, status, the audit record, and the keys of its certificate
authority and of all agents. Whoever holds the file can be the engine: it is
readable by you alone, and should be kept so. It needs the right to change things.

The engine works on meanwhile. The file is checked as it comes; what was cut short
is not kept. relight restore makes a controller's directory of it.`,
		Example: "  relight backup relight-2026-11-21.backup",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			size, err := a.backup(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			defer a.next(fmt.Sprintf("relight restore %s --data NEWDIR", args[0]))
			return a.object(struct {
				File  string `json:"file"`
				Bytes int64  `json:"bytes"`
			}{args[0], size}, args[0], func(out io.Writer) error {
				_, err := fmt.Fprintf(out, "%s: %d bytes, readable by you alone: it holds secrets\n", args[0], size)
				return err
			})
		},
	}
}

// backup makes the file appear whole or not at all, and never over another one.
func (a *app) backup(ctx context.Context, c *client.Client, path string) (int64, error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".relight-backup-*") // mode 0600
	if err != nil {
		return 0, fileProblem(err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	size, err := c.Backup(ctx, tmp)
	if err == nil {
		err = fileProblem(tmp.Sync())
	}
	if err = errors.Join(err, fileProblem(tmp.Close())); err != nil {
		return 0, err
	}
	// A rename would replace the backup of yesterday; a link does not.
	err = os.Link(tmp.Name(), path)
	if errors.Is(err, fs.ErrExist) {
		return 0, client.NewProblem(client.CodeBadRequest, "%s is there already; nothing was written over it", path).WithNext("relight backup %s.new", path)
	}
	return size, fileProblem(err)
}

func fileProblem(err error) error {
	if err == nil {
		return nil
	}
	return client.NewProblem(client.CodeBadRequest, "cannot write the backup: %v", err).WithNext("relight backup FILE, in a directory with room")
}
