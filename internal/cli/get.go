package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
)

// listing is how one kind of thing is listed.
type listing[T any] struct {
	noun    string
	columns []column[T]
	id      func(T) string
	fetch   func(context.Context, *client.Client, client.ListQuery) (client.List[T], error)
	// one fetches a single thing: what -o json prints, and its row.
	one func(context.Context, *client.Client, string) (any, T, error)
	// empty is what to type if there is nothing.
	empty string
}

func (a *app) getCmd() *cobra.Command {
	return group("get", "List servers, sites, policies, hosts, incidents, approvals",
		`Get lists things, or shows the row of one. Nouns may be singular or plural.

--watch prints a row again whenever it changes; with -o json one object a line.
The columns of tables are not stable: programs read -o json.`,
		"  relight get servers\n  relight get servers -l tier=db -o wide\n  relight get server lic-01 -o yaml\n  relight get hosts --watch",
		getOf(a, "servers", "server", a.serverListing()), getOf(a, "sites", "site", a.siteListing()),
		getOf(a, "policies", "policy", a.documentListing(client.KindPolicy)), getOf(a, "hosts", "host", a.hostListing()),
		getOf(a, "incidents", "incident", a.incidentListing()), getOf(a, "approvals", "approval", a.approvalListing()),
	)
}

func getOf[T any](a *app, plural, singular string, l listing[T]) *cobra.Command {
	var (
		selector string
		watch    bool
	)
	cmd := &cobra.Command{
		Use:     plural + " [NAME]",
		Aliases: []string{singular},
		Short:   "List " + plural,
		Long:    fmt.Sprintf("List %s, or show the one that is named. -o json and -o yaml show everything about it.", plural),
		Example: fmt.Sprintf("  relight get %s\n  relight get %s -o json", plural, plural),
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			sel, err := client.ParseSelector(selector)
			if err != nil {
				return err
			}
			switch {
			case len(args) == 1 && watch:
				return usage(cmd, "--watch lists; to follow one server: relight events %s --watch", args[0])
			case len(args) == 1:
				return getOne(cmd.Context(), a, c, l, args[0])
			case watch:
				return watchAll(cmd.Context(), a, c, l, client.ListQuery{Selector: sel})
			default:
				return getAll(cmd.Context(), a, c, l, client.ListQuery{Selector: sel})
			}
		},
	}
	cmd.Flags().StringVarP(&selector, "selector", "l", "", "labels that must all match, such as tier=db,site=dc1")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "print rows again as they change")
	return cmd
}

func getOne[T any](ctx context.Context, a *app, c *client.Client, l listing[T], name string) error {
	full, row, err := l.one(ctx, c, name)
	if err != nil {
		return err
	}
	switch a.flags.output {
	case "json":
		return writeJSON(a.Out, full)
	case "yaml":
		return writeYAML(a.Out, full)
	case "name":
		_, err := fmt.Fprintln(a.Out, l.noun+"/"+l.id(row))
		return err
	}
	return table(a.Out, a.flags.output == "wide", l.columns, []T{row})
}

// all fetches every page.
func all[T any](ctx context.Context, c *client.Client, l listing[T], q client.ListQuery) ([]T, error) {
	items := []T{}
	for {
		page, err := l.fetch(ctx, c, q)
		if err != nil {
			return nil, err
		}
		items = append(items, page.Items...)
		if page.Next == "" {
			return items, nil
		}
		q.Cursor = page.Next
	}
}

func getAll[T any](ctx context.Context, a *app, c *client.Client, l listing[T], q client.ListQuery) error {
	items, err := all(ctx, c, l, q)
	if err != nil {
		return err
	}
	switch a.flags.output {
	case "json":
		return writeJSON(a.Out, client.List[T]{Items: items})
	case "yaml":
		return writeYAML(a.Out, client.List[T]{Items: items})
	case "name":
		for _, i := range items {
			fmt.Fprintln(a.Out, l.noun+"/"+l.id(i))
		}
		return nil
	}
	if len(items) == 0 {
		fmt.Fprintf(a.Err, "there are none\nnext: %s\n", l.empty)
		return nil
	}
	return table(a.Out, a.flags.output == "wide", l.columns, items)
}

// watchAll lists, and lists again whenever an event says that something may have
// changed; it prints the rows that did. Events that come while it lists wake it
// once: a storm of them must not become a storm of lists.
func watchAll[T any](ctx context.Context, a *app, c *client.Client, l listing[T], q client.ListQuery) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	seen := map[string]string{}
	// From before the first list on, so that nothing falls between the two.
	events := client.EventQuery{Since: a.Now().Add(-10 * time.Second)}
	if err := showNews(ctx, a, c, l, q, seen); err != nil {
		return err
	}
	wake := make(chan error, 1)
	go func() {
		for _, err := range c.WatchEvents(ctx, events) {
			select {
			case wake <- err:
			default:
			}
		}
		cancel(errWatchEnded)
	}()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-wake:
			if err != nil {
				a.tell(err)
			}
			// After a broken stream too: events may have been missed.
			if showErr := showNews(ctx, a, c, l, q, seen); showErr != nil && err == nil {
				a.tell(showErr)
			}
		}
	}
}

var errWatchEnded = client.NewProblem(client.CodeUnreachable, "the engine ended the watch").WithNext("relight doctor")

// showNews prints the rows that differ from what was seen.
func showNews[T any](ctx context.Context, a *app, c *client.Client, l listing[T], q client.ListQuery, seen map[string]string) error {
	items, err := all(ctx, c, l, q)
	if err != nil {
		return err
	}
	var news []T
	for _, i := range items {
		raw, err := json.Marshal(i)
		if err != nil {
			return err
		}
		if seen[l.id(i)] != string(raw) {
			seen[l.id(i)] = string(raw)
			news = append(news, i)
		}
	}
	if len(news) == 0 {
		return nil
	}
	return stream(a, l, news)
}

// stream prints items of a watch: json as one object a line.
func stream[T any](a *app, l listing[T], items []T) error {
	switch a.flags.output {
	case "json":
		enc := json.NewEncoder(a.Out)
		for _, i := range items {
			if err := enc.Encode(i); err != nil {
				return err
			}
		}
		return nil
	case "yaml":
		for _, i := range items {
			fmt.Fprintln(a.Out, "---")
			if err := writeYAML(a.Out, i); err != nil {
				return err
			}
		}
		return nil
	case "name":
		for _, i := range items {
			fmt.Fprintln(a.Out, l.noun+"/"+l.id(i))
		}
		return nil
	}
	return table(a.Out, a.flags.output == "wide", l.columns, items)
}

func (a *app) serverListing() listing[client.ServerRow] {
	return listing[client.ServerRow]{
		noun: "server", empty: "relight apply -f FILE",
		id: func(r client.ServerRow) string { return r.Name },
		fetch: func(ctx context.Context, c *client.Client, q client.ListQuery) (client.List[client.ServerRow], error) {
			return c.Servers(ctx, q)
		},
		one: func(ctx context.Context, c *client.Client, name string) (any, client.ServerRow, error) {
			v, err := c.Server(ctx, name)
			return v, rowOf(v), err
		},
		columns: []column[client.ServerRow]{
			{"NAME", false, func(r client.ServerRow) string { return r.Name }},
			{"VERDICT", false, func(r client.ServerRow) string { return r.Verdict.String() }},
			{"PHASE", false, func(r client.ServerRow) string { return phase(r.Phase) }},
			{"EPOCH", false, func(r client.ServerRow) string { return fmt.Sprint(r.Epoch) }},
			{"HOST", false, func(r client.ServerRow) string { return r.Host }},
			{"MODE", false, func(r client.ServerRow) string { return string(r.Mode) }},
			{"SINCE", false, func(r client.ServerRow) string { return client.Ago(r.Since, a.Now()) }},
			{"ADDRESSES", true, func(r client.ServerRow) string { return strings.Join(r.Addresses, ",") }},
			{"VOLUMES", true, func(r client.ServerRow) string { return strings.Join(r.Volumes, ",") }},
			{"LABELS", true, func(r client.ServerRow) string { return client.FormatSelector(r.Labels) }},
			{"INCIDENT", true, func(r client.ServerRow) string { return r.Incident }},
			{"MESSAGE", false, func(r client.ServerRow) string { return r.Message }},
		},
	}
}

func phase(p fleet.Phase) string {
	if p == fleet.PhaseNew {
		return "new"
	}
	return string(p)
}

func rowOf(v client.ServerView) client.ServerRow {
	r := client.ServerRow{
		Name: v.Server.Name, Labels: v.Server.Labels, Verdict: v.Finding.Verdict, Since: v.Finding.Since,
		Phase: v.Status.Phase, Epoch: v.Status.Epoch, Host: v.Status.Host, Mode: v.Server.Spec.Mode,
		Provider: v.Server.Spec.Provider, Incident: v.Status.Incident, Revision: v.Revision,
		Message: first(v.Status.Message, v.Finding.Reason),
	}
	for _, ad := range v.Server.Spec.Identity.Addresses {
		r.Addresses = append(r.Addresses, ad.IP)
	}
	for _, vol := range v.Server.Spec.Identity.Volumes {
		r.Volumes = append(r.Volumes, vol.Name)
	}
	return r
}

func (a *app) documentListing(kind client.Kind) listing[client.Document] {
	return listing[client.Document]{
		noun: strings.ToLower(string(kind)), empty: "relight apply -f FILE",
		id: func(d client.Document) string { return d.Metadata.Name },
		fetch: func(ctx context.Context, c *client.Client, q client.ListQuery) (client.List[client.Document], error) {
			return c.Documents(ctx, kind, q)
		},
		one: func(ctx context.Context, c *client.Client, name string) (any, client.Document, error) {
			d, err := c.Document(ctx, kind, name)
			return d, d, err
		},
		columns: []column[client.Document]{
			{"NAME", false, func(d client.Document) string { return d.Metadata.Name }},
			{"REVISION", false, func(d client.Document) string { return fmt.Sprint(d.Revision) }},
			{"LABELS", false, func(d client.Document) string { return client.FormatSelector(d.Metadata.Labels) }},
			{"SPEC", true, func(d client.Document) string { return string(d.Spec) }},
		},
	}
}

func span(from, to, now time.Time) string {
	if to.IsZero() {
		to = now
	}
	return client.Span(to.Sub(from))
}
