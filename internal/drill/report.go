package drill

import (
	"encoding/json"
	"fmt"
	"html"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"relight/internal/core/fleet"
)

// Report is what came of one or more drills.
type Report struct {
	At     time.Time     `json:"at"`
	Passed bool          `json:"passed"`
	Drills []fleet.Drill `json:"drills"`
	// NotRun lists the drills that could not begin, with the reason.
	NotRun []NotRun `json:"notRun,omitempty"`
}

// NotRun is a drill that could not begin.
type NotRun struct {
	Name   fleet.DrillName `json:"name"`
	Reason string          `json:"reason"`
}

// Close sets whether all passed.
func (r *Report) Close() {
	r.Passed = len(r.NotRun) == 0 && len(r.Drills) > 0
	for _, d := range r.Drills {
		r.Passed = r.Passed && d.Result.Passed
	}
}

// Text writes the report as a table for people.
func (r Report) Text(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DRILL\tSERVER\tFROM\tTO\tRTO\tRPO\tRESULT")
	for _, d := range r.Drills {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.Name, d.Server, d.Host, d.Result.To, seconds(d.Result.RTO), RPO(d.Result), Outcome(d.Result))
	}
	for _, n := range r.NotRun {
		fmt.Fprintf(w, "%s\t\t\t\t\t\tnot run: %s\n", n.Name, n.Reason)
	}
	return w.Flush()
}

// JSON writes the report as one object.
func (r Report) JSON(out io.Writer) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// RPO says how much of what was acknowledged is lost.
func RPO(r fleet.DrillResult) string {
	if r.Acked == 0 {
		return "not measured"
	}
	return fmt.Sprintf("%d of %d writes lost", r.Lost, r.Acked)
}

// Outcome says in a word, or in the failure's sentence, what came of a drill.
func Outcome(r fleet.DrillResult) string {
	if r.Passed {
		return "passed"
	}
	return "FAILED: " + r.Failure
}

func seconds(d fleet.Duration) string { return fmt.Sprintf("%.2fs", d.Std().Seconds()) }

// head is the page's head; it needs no script and no other file.
const head = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Relight drills</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1c1e21;background:#fff}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.4rem .6rem;border-bottom:1px solid #ddd;vertical-align:top}
.passed{color:#1a7f37}.failed{color:#b3261e}
@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#161616}th,td{border-color:#333}.passed{color:#5fd17a}.failed{color:#ff8a80}}
</style></head><body>
`

// HTML writes the report as a page of its own, without scripts or links.
func (r Report) HTML(out io.Writer) error {
	var b strings.Builder
	b.WriteString(head)
	word := "not passed"
	if r.Passed {
		word = "passed"
	}
	fmt.Fprintf(&b, "<h1>Drills: <span class=%q>%s</span></h1>\n<p>%s. RTO counts from the fault until the server's own checks passed; RPO counts acknowledged writes that the data does not hold.</p>\n",
		class(r.Passed), word, r.At.UTC().Format("2006-01-02 15:04:05 UTC"))
	b.WriteString("<table><thead><tr>")
	for _, h := range []string{"Drill", "Server", "From", "To", "Epoch", "RTO", "Longest pause", "RPO", "Two writers", "Result"} {
		fmt.Fprintf(&b, "<th>%s</th>", h)
	}
	b.WriteString("</tr></thead><tbody>\n")
	for _, d := range r.Drills {
		cells := []string{
			string(d.Name) + ": " + d.Expected, d.Server, d.Host, d.Result.To, fmt.Sprintf("%d to %d", d.Epoch, d.Result.Epoch),
			seconds(d.Result.RTO), seconds(d.Result.Pause), RPO(d.Result), fmt.Sprint(d.Result.TwoWriters),
		}
		row(&b, cells, d.Result.Passed, fmt.Sprintf("%s (%s by %s)", Outcome(d.Result), d.ID, d.By))
	}
	for _, n := range r.NotRun {
		row(&b, append([]string{string(n.Name)}, make([]string, 8)...), false, "not run: "+n.Reason)
	}
	b.WriteString("</tbody></table></body></html>\n")
	_, err := io.WriteString(out, b.String())
	return err
}

func class(passed bool) string {
	if passed {
		return "passed"
	}
	return "failed"
}

// row writes one line of the table; whatever comes from outside is escaped.
func row(b *strings.Builder, cells []string, passed bool, outcome string) {
	b.WriteString("<tr>")
	for _, c := range cells {
		fmt.Fprintf(b, "<td>%s</td>", html.EscapeString(c))
	}
	fmt.Fprintf(b, "<td class=%q>%s</td></tr>\n", class(passed), html.EscapeString(outcome))
}
