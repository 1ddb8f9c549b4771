package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
)

// whole is a listing of what comes in one answer: one of it is picked out here.
func whole[T any](noun, empty string, id func(T) string, list func(*client.Client, context.Context) (client.List[T], error)) listing[T] {
	return listing[T]{
		noun: noun, empty: empty, id: id,
		fetch: func(ctx context.Context, c *client.Client, _ client.ListQuery) (client.List[T], error) {
			return list(c, ctx)
		},
		one: func(ctx context.Context, c *client.Client, name string) (any, T, error) {
			got, err := list(c, ctx)
			return pick(got, err, noun, name, id)
		},
	}
}

// listCmd is the command that lists, for groups whose things get lists too.
func listCmd[T any](a *app, use, short, long, example string, l listing[T]) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Long: long, Example: example, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return getAll(cmd.Context(), a, c, l, client.ListQuery{})
		},
	}
}

func (a *app) hostListing() listing[client.HostRow] {
	l := whole("host", "relight host token HOST", func(r client.HostRow) string { return r.Name }, (*client.Client).Hosts)
	l.columns = []column[client.HostRow]{
		{"NAME", false, func(r client.HostRow) string { return r.Name }},
		{"CONTACT", false, func(r client.HostRow) string { return r.InContact }},
		{"SINCE", false, func(r client.HostRow) string { return client.Ago(r.Since, a.Now()) }},
		{"UNITS", false, func(r client.HostRow) string { return fmt.Sprintf("%d/%d", r.UsedUnits, r.Units) }},
		{"SERVERS", false, func(r client.HostRow) string { return strings.Join(r.Servers, ",") }},
		{"SPARE", false, func(r client.HostRow) string { return r.Spare }},
		{"CLOSED", false, func(r client.HostRow) string { return r.Closed }},
		{"STANDBYS", true, func(r client.HostRow) string { return standbys(r.Standbys) }},
		{"SITES", true, func(r client.HostRow) string { return strings.Join(r.Sites, ",") }},
		{"POWER", true, func(r client.HostRow) string { return fmt.Sprint(r.Power) }},
		{"VERSION", true, func(r client.HostRow) string { return r.Version }},
	}
	return l
}

// standbys names the servers whose standby guest waits, and those whose still boots.
func standbys(list []fleet.Warm) string {
	var out []string
	for _, w := range list {
		if !w.Ready {
			w.Server += " (booting)"
		}
		out = append(out, w.Server)
	}
	return strings.Join(out, ",")
}

func (a *app) incidentListing() listing[client.IncidentRow] {
	return listing[client.IncidentRow]{
		noun: "incident", empty: "relight get servers",
		id: func(r client.IncidentRow) string { return r.ID },
		fetch: func(ctx context.Context, c *client.Client, q client.ListQuery) (client.List[client.IncidentRow], error) {
			return c.Incidents(ctx, q)
		},
		one: func(ctx context.Context, c *client.Client, id string) (any, client.IncidentRow, error) {
			v, err := c.Incident(ctx, id)
			return v, v.IncidentRow, err
		},
		columns: []column[client.IncidentRow]{
			{"ID", false, func(r client.IncidentRow) string { return r.ID }},
			{"CAUSE", false, func(r client.IncidentRow) string { return r.Cause }},
			{"OPENED", false, func(r client.IncidentRow) string { return client.Clock(r.Opened, a.Now()) }},
			{"STATE", false, incidentState},
			{"TOOK", false, func(r client.IncidentRow) string { return span(r.Opened, r.Closed, a.Now()) }},
			{"SERVERS", false, func(r client.IncidentRow) string { return strings.Join(r.Servers, ",") }},
			{"MESSAGE", true, func(r client.IncidentRow) string { return r.Message }},
		},
	}
}

func incidentState(r client.IncidentRow) string {
	if r.Closed.IsZero() {
		return "open"
	}
	return "closed"
}

func (a *app) approvalListing() listing[client.ApprovalRow] {
	l := whole("approval", "relight get servers", func(r client.ApprovalRow) string { return r.Server }, (*client.Client).Approvals)
	l.columns = []column[client.ApprovalRow]{
		{"SERVER", false, func(r client.ApprovalRow) string { return r.Server }},
		{"EPOCH", false, func(r client.ApprovalRow) string { return fmt.Sprint(r.Epoch) }},
		{"PLAN", false, func(r client.ApprovalRow) string { return r.Plan }},
		{"GIVEN", false, func(r client.ApprovalRow) string { return fmt.Sprintf("%d/%d", len(r.Given), r.Needed) }},
		{"UNTIL", false, func(r client.ApprovalRow) string { return client.Clock(r.Until, a.Now()) }},
		{"REASON", false, func(r client.ApprovalRow) string { return r.Reason }},
		{"STEPS", true, func(r client.ApprovalRow) string { return strings.Join(r.Steps, "; ") }},
	}
	return l
}

func pick[T any](got client.List[T], err error, kind, name string, id func(T) string) (any, T, error) {
	var none T
	if err != nil {
		return nil, none, err
	}
	for _, i := range got.Items {
		if id(i) == name {
			return i, i, nil
		}
	}
	p := client.NotFound(kind, name)
	if kind == "approval" {
		p = client.NewProblem(client.CodeNotFound, "nothing about %s waits for an approval", name).WithNext("relight why %s", name)
	}
	return nil, none, p
}

func (a *app) maintenanceListing() listing[fleet.Maintenance] {
	l := whole("maintenance", "relight maintain start SCOPE --for 1h --reason ...", func(m fleet.Maintenance) string { return m.ID }, (*client.Client).Maintenances)
	l.columns = []column[fleet.Maintenance]{
		{"ID", false, func(m fleet.Maintenance) string { return m.ID }},
		{"SCOPE", false, func(m fleet.Maintenance) string { return m.Scope }},
		{"OWNER", false, func(m fleet.Maintenance) string { return m.Owner }},
		{"FROM", false, func(m fleet.Maintenance) string { return client.Clock(m.From, a.Now()) }},
		{"UNTIL", false, func(m fleet.Maintenance) string { return client.Clock(m.Until, a.Now()) }},
		{"REASON", false, func(m fleet.Maintenance) string { return m.Reason }},
	}
	return l
}
