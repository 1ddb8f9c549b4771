package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
	"relight/internal/core/decide"
	"relight/internal/core/fleet"
)

func (a *app) whyCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "why SERVER",
		Short: "What is known about a server, what is done, and why not more",
		Long: `Why shows the verdict with the signals behind it, what is done now or what holds
it, every gate with its value and when it clears, every host with the reason for
which it was refused, and what a proof still needs.

The engine makes its decisions from exactly this.`,
		Example: "  relight why lic-01\n  relight why lic-01 -o json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			w, err := c.Why(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.object(w, "server/"+w.Server, func(out io.Writer) error { return a.why(out, w) })
		},
	}
}

// why writes what is known and done, the most important first.
func (a *app) why(out io.Writer, w client.Why) error {
	now := w.At.In(a.Now().Location())
	if w.At.IsZero() {
		now = a.Now()
	}
	verdict := strings.ToUpper(w.Finding.Verdict.String())
	fmt.Fprintln(out, strings.Replace(clean(w.Headline(now)), " "+verdict, " "+a.paint(verdict), 1))
	fmt.Fprintln(out, clean(w.Now()))
	if line := recoveryLine(w.Status, now); line != "" {
		fmt.Fprintln(out, clean(line))
	}
	for _, line := range client.AwayLines(w.Status) {
		fmt.Fprintln(out, clean(line))
	}
	for _, line := range client.FormattedLines(w.Status) {
		fmt.Fprintln(out, clean(line))
	}
	for _, line := range client.NoteLines(w.Status) {
		fmt.Fprintln(out, clean(line))
	}
	if err := a.signals(out, w.Finding.Evidence, now); err != nil {
		return err
	}
	if err := a.gates(out, w.Decision.Gates, now); err != nil {
		return err
	}
	if err := a.candidates(out, w.Decision.Candidates); err != nil {
		return err
	}
	for _, old := range w.Watching {
		fmt.Fprintln(out, clean(old.String()))
	}
	if line := w.ProofLine(); line != "" {
		fmt.Fprintf(out, "\n%s\n", clean(line))
		if grade := w.GradeLine(); grade != "" {
			fmt.Fprintln(out, clean(grade))
		}
	}
	recent(out, w.Events, now)
	if again := w.Decision.LookAgainAt; !again.IsZero() {
		fmt.Fprintf(out, "\nlooks again at %s (in %s) or when news comes\n", client.Clock(again, now), client.Span(again.Sub(now)))
	}
	if len(w.Next) > 0 {
		fmt.Fprintf(out, "\nnext: %s\n", strings.Join(w.Next, " | "))
	}
	return nil
}

func recoveryLine(s fleet.Status, now time.Time) string {
	r := s.Recovery
	if r == nil {
		if s.Epoch == 0 {
			return ""
		}
		return fmt.Sprintf("epoch %d on %s, %s since launch", s.Epoch, first(s.Host, "no host"), client.Ago(s.LaunchedAt, now))
	}
	line := fmt.Sprintf("recovery %s: %s of epoch %d", r.ID, r.Rung, r.From)
	if r.FromHost != "" {
		line += " on " + r.FromHost
	}
	if r.To != 0 {
		line += fmt.Sprintf(" to epoch %d", r.To)
	}
	if r.Host != "" {
		line += " on " + r.Host
	}
	line += ", begun " + client.Clock(r.Begun, now)
	if r.Requested != "" {
		line += ", asked for by " + r.Requested
	}
	return line
}

func (a *app) signals(out io.Writer, signals []fleet.Signal, now time.Time) error {
	if len(signals) == 0 {
		return nil
	}
	fmt.Fprintln(out)
	return table(out, false, []column[fleet.Signal]{
		{"SOURCE", false, func(s fleet.Signal) string { return s.Source.String() }},
		{"ASKED", false, func(s fleet.Signal) string { return string(s.Question) + "?" }},
		{"ANSWER", false, func(s fleet.Signal) string { return s.Answer.String() }},
		{"SINCE", false, func(s fleet.Signal) string { return client.Clock(s.Since, now) }},
		{"SEEN", false, func(s fleet.Signal) string { return client.Ago(s.At, now) + " ago" }},
		{"DETAIL", false, func(s fleet.Signal) string {
			if s.CannotLie {
				return strings.TrimSpace(s.Detail + " (cannot lie)")
			}
			return s.Detail
		}},
	}, signals)
}

func (a *app) gates(out io.Writer, gates []decide.Gate, now time.Time) error {
	if len(gates) == 0 {
		return nil
	}
	fmt.Fprintln(out)
	return a.painted(out, func(w io.Writer) error {
		return table(w, false, []column[decide.Gate]{
			{"GATE", false, func(g decide.Gate) string { return g.Name }},
			{"STATE", false, func(g decide.Gate) string { return gateState(g) }},
			{"VALUE", false, func(g decide.Gate) string { return g.Value }},
			{"SET BY", false, func(g decide.Gate) string { return g.SetBy }},
			{"CLEARS", false, func(g decide.Gate) string { return client.Clock(g.ClearsAt, now) }},
		}, gates)
	}, "HOLD", "pass")
}

func gateState(g decide.Gate) string {
	if g.Pass {
		return "pass"
	}
	return "HOLD"
}

func (a *app) candidates(out io.Writer, hosts []decide.Candidate) error {
	if len(hosts) == 0 {
		return nil
	}
	fmt.Fprintln(out)
	return a.painted(out, func(w io.Writer) error {
		return table(w, false, []column[decide.Candidate]{
			{"HOST", false, func(c decide.Candidate) string { return c.Host }},
			{"VERDICT", false, candidateState},
			{"SITE", false, func(c decide.Candidate) string { return c.Site }},
			{"REASON", false, func(c decide.Candidate) string { return c.Refused }},
		}, hosts)
	}, "chosen", "refused")
}

func candidateState(c decide.Candidate) string {
	switch {
	case c.Chosen:
		return "chosen"
	case c.Refused != "":
		return "refused"
	default:
		return "would do"
	}
}

// painted colours words of a table after its columns were laid out, because
// colour codes would count as width.
func (a *app) painted(out io.Writer, write func(io.Writer) error, words ...string) error {
	var b strings.Builder
	if err := write(&b); err != nil {
		return err
	}
	text := b.String()
	for _, w := range words {
		text = strings.ReplaceAll(text, "  "+w+" ", "  "+a.paint(w)+" ")
	}
	_, err := io.WriteString(out, text)
	return err
}

// recent writes the last few events.
func recent(out io.Writer, events []client.EventRecord, now time.Time) {
	const most = 5
	if len(events) == 0 {
		return
	}
	if len(events) > most {
		events = events[len(events)-most:]
	}
	fmt.Fprintln(out, "\nlately")
	for _, r := range events {
		fmt.Fprintf(out, "  %s  %s\n", client.Clock(r.Event.At, now), clean(r.Event.Message))
	}
}

func (a *app) planCmd() *cobra.Command {
	var rung, to string
	cmd := &cobra.Command{
		Use:   "plan SERVER",
		Short: "What would be done about a server now",
		Long: `Plan lists the steps that would be done if a recovery began now, and what would
hold it. It changes nothing.

Exit code 0: nothing would be done; 1: something would; above 1: an error.`,
		Example:     "  relight plan lic-01\n  relight plan lic-01 --rung move --to dc2",
		Args:        cobra.ExactArgs(1),
		Annotations: map[string]string{compares: "yes"},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.planned(cmd.Context(), c, args[0], client.PlanQuery{Rung: fleet.Rung(rung), To: to})
		},
	}
	cmd.Flags().StringVar(&rung, "rung", "", "restartApp, reboot, recover, relaunch or move; the ladder's first by default")
	cmd.Flags().StringVar(&to, "to", "", "site of a move")
	return cmd
}

// planned asks for a plan and shows it; its exit code tells whether there is any step.
func (a *app) planned(ctx context.Context, c *client.Client, name string, q client.PlanQuery) error {
	p, err := c.Plan(ctx, name, q)
	if err != nil {
		return err
	}
	if err := a.object(p, "server/"+p.Server, func(out io.Writer) error { return a.plan(out, p) }); err != nil {
		return err
	}
	if len(p.Steps) == 0 {
		return nil
	}
	return exitWith(client.ExitFailed)
}

func (a *app) plan(out io.Writer, p client.Plan) error {
	fmt.Fprintln(out, clean(p.Server+": "+p.Reason))
	for i, s := range p.Steps {
		fmt.Fprintf(out, "%3d. %s\n", i+1, clean(s.Sentence))
	}
	if p.Hold != nil {
		fmt.Fprintf(out, "held now by %s: %s\n", p.Hold.Gate, clean(p.Hold.Reason))
	}
	if err := a.gates(out, p.Gates, a.Now()); err != nil {
		return err
	}
	if err := a.candidates(out, p.Candidates); err != nil {
		return err
	}
	if p.Hash != "" {
		fmt.Fprintf(out, "\nplan %s\n", p.Hash)
	}
	if len(p.Steps) > 0 && p.Hold == nil && p.Host != "" {
		a.next("relight move " + p.Server + " --to " + p.Host)
	} else if len(p.Steps) > 0 && p.Hold == nil {
		a.next("relight heal " + p.Server)
	} else {
		w := client.Why{Server: p.Server, At: a.Now(), Decision: decide.Decision{Hold: p.Hold}, Status: fleet.Status{Epoch: p.From}}
		a.next(append([]string{"relight why " + p.Server}, client.HoldCommands(w)...)...)
	}
	return nil
}
