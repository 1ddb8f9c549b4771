package cli

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
)

func (a *app) notifyCmd() *cobra.Command {
	return group("notify", "Test what tells people",
		"What people want to hear of goes to a webhook: relight controller --webhook.",
		"  relight notify test", a.notifyTestCmd())
}

func (a *app) notifyTestCmd() *cobra.Command {
	return &cobra.Command{
		Use: "test", Short: "Send a test message to the webhook",
		Long: `Test has the controller send one signed message of the type relight.test to its
webhook, once, and shows what the receiver answered. Exit code 1 if it did not take
it.`,
		Example: "  relight notify test",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			got, err := c.TryWebhook(cmd.Context())
			if err != nil {
				return err
			}
			if err := a.object(got, got.Host, func(out io.Writer) error { return trial(out, got) }); err != nil {
				return err
			}
			if got.Delivered {
				return nil
			}
			a.next("relight controller --help", "relight notify test")
			return exitWith(client.ExitFailed)
		},
	}
}

func trial(out io.Writer, t client.WebhookTrial) error {
	word := "did not take"
	if t.Delivered {
		word = "took"
	}
	var said []string
	if t.Status != 0 {
		said = append(said, strings.TrimSpace(fmt.Sprintf("%d %s", t.Status, http.StatusText(t.Status))))
	}
	for _, s := range []string{t.Trouble, t.Answer} {
		if s != "" {
			said = append(said, clean(s))
		}
	}
	_, err := fmt.Fprintf(out, "%s %s the message after %s: %s\n", t.Host, word, time.Duration(t.Took).Round(time.Millisecond), strings.Join(said, "; "))
	return err
}
