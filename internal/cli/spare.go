package cli

import (
	"context"
	"fmt"

	"relight/internal/api/client"
	"relight/internal/core/decide"
)

// siteRow is a site's document with the answer to "N+1 possible?" there.
type siteRow struct {
	client.Document
	Spare *decide.SiteSpare `json:"spare,omitempty"`
}

// siteListing lists sites, each with whether it bears the loss of any one host.
func (a *app) siteListing() listing[siteRow] {
	docs := a.documentListing(client.KindSite)
	return listing[siteRow]{
		noun: docs.noun, empty: docs.empty,
		id: func(r siteRow) string { return r.Metadata.Name },
		fetch: func(ctx context.Context, c *client.Client, q client.ListQuery) (client.List[siteRow], error) {
			page, err := docs.fetch(ctx, c, q)
			if err != nil {
				return client.List[siteRow]{}, err
			}
			spare, err := c.Spare(ctx)
			if err != nil {
				return client.List[siteRow]{}, err
			}
			out := client.List[siteRow]{Next: page.Next}
			for _, d := range page.Items {
				out.Items = append(out.Items, siteRow{Document: d, Spare: spareOf(spare, d.Metadata.Name)})
			}
			return out, nil
		},
		one: func(ctx context.Context, c *client.Client, name string) (any, siteRow, error) {
			_, d, err := docs.one(ctx, c, name)
			if err != nil {
				return nil, siteRow{}, err
			}
			spare, err := c.Spare(ctx)
			row := siteRow{Document: d, Spare: spareOf(spare, name)}
			return row, row, err
		},
		columns: []column[siteRow]{
			{"NAME", false, func(r siteRow) string { return r.Metadata.Name }},
			{"HOSTS", false, spareCell(func(s decide.SiteSpare) string { return fmt.Sprint(s.Hosts) })},
			{"UNITS", false, spareCell(func(s decide.SiteSpare) string { return fmt.Sprintf("%d/%d", s.Used+s.Warm, s.Units) })},
			{"SPARE", false, spareCell(spareWord)},
			{"REVISION", true, func(r siteRow) string { return fmt.Sprint(r.Revision) }},
			{"LABELS", false, func(r siteRow) string { return client.FormatSelector(r.Metadata.Labels) }},
			{"SPEC", true, func(r siteRow) string { return string(r.Spec) }},
		},
	}
}

func spareOf(v client.SpareView, site string) *decide.SiteSpare {
	for i := range v.Sites {
		if v.Sites[i].Site == site {
			return &v.Sites[i]
		}
	}
	return nil
}

// spareCell is empty for a site without hosts.
func spareCell(of func(decide.SiteSpare) string) func(siteRow) string {
	return func(r siteRow) string {
		if r.Spare == nil {
			return ""
		}
		return of(*r.Spare)
	}
}

// spareWord answers "N+1 possible?" in a word, with the reason if not.
func spareWord(s decide.SiteSpare) string {
	if s.OK {
		return "yes"
	}
	return "no: " + s.Reason
}
