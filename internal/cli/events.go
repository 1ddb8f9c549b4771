package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
)

func (a *app) eventsCmd() *cobra.Command {
	var (
		since    time.Duration
		watch    bool
		incident string
	)
	cmd := &cobra.Command{
		Use:   "events [SERVER]",
		Short: "What happened, and what happens",
		Long: `Events lists what happened, oldest first. --watch goes on with what happens; with
-o json one object a line. A watch that loses the engine goes on where it was.`,
		Example: "  relight events --since 10m\n  relight events lic-01 --watch\n  relight events --incident INC-204 -o json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := client.EventQuery{Incident: incident}
			if len(args) == 1 {
				q.Server = args[0]
			}
			if since > 0 {
				q.Since = a.Now().Add(-since)
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			if watch {
				return a.watchEvents(cmd.Context(), c, q)
			}
			return getAll(cmd.Context(), a, c, a.eventListing(q), client.ListQuery{})
		},
	}
	cmd.Flags().DurationVar(&since, "since", time.Hour, "how far back")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "go on with what happens")
	cmd.Flags().StringVar(&incident, "incident", "", "of this incident only")
	return cmd
}

// eventListing lists the events of q; the list's cursor is the event cursor.
func (a *app) eventListing(q client.EventQuery) listing[client.EventRecord] {
	return listing[client.EventRecord]{
		noun: "event", empty: "relight events --since 24h",
		id: func(r client.EventRecord) string { return r.ID },
		fetch: func(ctx context.Context, c *client.Client, l client.ListQuery) (client.List[client.EventRecord], error) {
			q.After = l.Cursor
			return c.Events(ctx, q)
		},
		columns: []column[client.EventRecord]{
			{"TIME", false, func(r client.EventRecord) string { return client.Clock(r.Event.At, a.Now()) }},
			{"KIND", false, func(r client.EventRecord) string { return string(r.Event.Kind) }},
			{"SERVER", false, func(r client.EventRecord) string { return r.Event.Server }},
			{"BY", false, func(r client.EventRecord) string { return r.Event.By }},
			{"MESSAGE", false, func(r client.EventRecord) string { return r.Event.Message }},
			{"ID", true, func(r client.EventRecord) string { return r.ID }},
			{"INCIDENT", true, func(r client.EventRecord) string { return r.Event.Incident }},
		},
	}
}

func (a *app) watchEvents(ctx context.Context, c *client.Client, q client.EventQuery) error {
	var last error
	for r, err := range c.WatchEvents(ctx, q) {
		if last != nil {
			// There is a next try, so the error before was not the end.
			fmt.Fprintf(a.Err, "%s; trying again\n", reasonOf(last))
		}
		if last = err; err != nil {
			continue
		}
		if err := a.eventLine(r); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return last
}

func (a *app) eventLine(r client.EventRecord) error {
	switch a.flags.output {
	case "json":
		return json.NewEncoder(a.Out).Encode(r)
	case "yaml":
		fmt.Fprintln(a.Out, "---")
		return writeYAML(a.Out, r)
	case "name":
		_, err := fmt.Fprintln(a.Out, "event/"+r.ID)
		return err
	}
	_, err := fmt.Fprintf(a.Out, "%s  %-16s %-12s %s\n", client.Clock(r.Event.At, a.Now()), r.Event.Kind, first(r.Event.Server, r.Event.Host, "-"), clean(r.Event.Message))
	return err
}

func (a *app) incidentCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "incident ID",
		Short: "One incident: its cause, its servers, and how long each part took",
		Long: `Incident shows one incident with the waterfall of every recovery: what was done
when and how long it took.`,
		Example: "  relight get incidents\n  relight incident INC-204",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			v, err := c.Incident(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.object(v, "incident/"+v.ID, func(out io.Writer) error { return a.incident(out, v) })
		},
	}
}

func (a *app) incident(out io.Writer, v client.IncidentView) error {
	now := a.Now()
	fmt.Fprintf(out, "%s %s: %s\n", v.ID, incidentState(v.IncidentRow), clean(v.Cause))
	fmt.Fprintf(out, "opened %s, took %s, %d server(s)\n", client.Clock(v.Opened, now), span(v.Opened, v.Closed, now), len(v.Servers))
	for _, r := range v.Recoveries {
		if err := a.waterfall(out, r); err != nil {
			return err
		}
	}
	recent(out, v.Events, now)
	a.next("relight events --incident " + v.ID)
	return nil
}

// waterfall draws one recovery's marks against its whole length.
func (a *app) waterfall(out io.Writer, r client.RecoveryView) error {
	rec, now := r.Recovery, a.Now()
	begun, ended := rec.DownSince, r.Ended
	if begun.IsZero() {
		begun = rec.Begun
	}
	if ended.IsZero() {
		ended = now
	}
	state := "running"
	switch {
	case r.Healed:
		state = "healed, RTO " + r.RTO.String()
	case !r.Ended.IsZero():
		state = "not healed"
	}
	fmt.Fprintf(out, "\n%s: %s, epoch %d -> %d, %s\n", r.Server, rec.Rung, rec.From, rec.To, state)
	fmt.Fprintf(out, "  %s\n", clean(rec.Cause))
	whole := ended.Sub(begun)
	for _, m := range rec.Marks {
		to := m.Ended
		if to.IsZero() {
			to = now
		}
		fmt.Fprintf(out, "  %-12s %s %s\n", clean(m.Name), bar(m.Begun.Sub(begun), to.Sub(begun), whole), client.Span(to.Sub(m.Begun)))
	}
	return nil
}

// bar draws a stretch of a whole in forty places, at least one mark wide.
func bar(from, to, whole time.Duration) string {
	const width = 40
	at := func(d time.Duration) int {
		if whole <= 0 {
			return 0
		}
		return int(min(max(d, 0), whole) * width / whole)
	}
	b := []byte("........................................")
	for i := min(at(from), width-1); i < max(at(to), min(at(from), width-1)+1); i++ {
		b[i] = '#'
	}
	return string(b)
}
