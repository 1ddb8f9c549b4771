package peers

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// The plot: one panel a scenario, side by side.
const (
	panelWidth, panelHeight = 270.0, 300.0
	panelGap, plotLeft      = 34.0, 74.0
	plotTop, plotBottom     = 62.0, 108.0
	maxSeconds, stepSeconds = 16.0, 4.0
	lowDecade, highDecade   = 2, 9
)

// Colours are read in light and in dark; marks differ in shape too.
const style = `<style>
text{font:12px system-ui,sans-serif;fill:#24292f}.title{font-weight:600;font-size:14px}.small{font-size:11px}
.grid{stroke:#8c959f;stroke-opacity:.3}.axis{stroke:#57606a}
.ours{stroke:#0969da;fill:#0969da}.store{stroke:#1a7f37;fill:#1a7f37}.lan{stroke:#bc4c00;fill:#bc4c00}.swim{stroke:#8250df;fill:#8250df}
.line{fill:none;stroke-width:2}.open{fill:none;stroke-width:1.6}.bound{stroke-dasharray:2 5;stroke-width:1.4}
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.grid{stroke:#6e7681;stroke-opacity:.5}.axis{stroke:#9198a1}
.ours{stroke:#58a6ff;fill:#58a6ff}.store{stroke:#3fb950;fill:#3fb950}.lan{stroke:#f0883e;fill:#f0883e}.swim{stroke:#bc8cff;fill:#bc8cff}.line,.open{fill:none}}
</style>`

// panel maps figures to places.
type panel struct{ left float64 }

func (p panel) x(seconds float64) float64 {
	return p.left + min(seconds, maxSeconds)/maxSeconds*panelWidth
}

func (p panel) y(rate float64) float64 {
	d := min(max(math.Log10(max(rate, 1)), lowDecade), highDecade)
	return plotTop + (highDecade-d)/(highDecade-lowDecade)*panelHeight
}

// plot draws mistakes against detection time.
func (c *collected) plot() string {
	var b strings.Builder
	panels := []struct{ scenario, title string }{
		{"loss 30 %", "30 % loss"}, {"bursts", "bursts: links off 10 % of the time"}, {"starved", "20 % of the members starved"},
	}
	width := plotLeft + 3*panelWidth + 2*panelGap + 20
	height := plotTop + panelHeight + plotBottom
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="img">`+"\n", width, height, width, height)
	b.WriteString("<title>Mistakes against detection time</title>\n" + style + "\n")
	fmt.Fprintf(&b, `<text class="title" x="%.0f" y="20">Mistakes against detection time: lower and further left is better</text>`+"\n", plotLeft)
	for i, p := range panels {
		at := panel{plotLeft + float64(i)*(panelWidth+panelGap)}
		at.axes(&b, p.title, i == 0)
		for _, r := range c.sorted() {
			if r.scenario == p.scenario {
				at.mark(&b, r)
			}
		}
		at.curve(&b, c.sorted(), p.scenario)
	}
	mid := plotTop + panelHeight/2
	fmt.Fprintf(&b, `<text x="16" y="%.0f" transform="rotate(-90 16 %.0f)" text-anchor="middle">mistakes per 10⁶ member-hours</text>`+"\n", mid, mid)
	legend(&b, plotTop+panelHeight+58)
	b.WriteString("</svg>\n")
	return b.String()
}

func (p panel) axes(b *strings.Builder, title string, labels bool) {
	bottom := plotTop + panelHeight
	fmt.Fprintf(b, `<text x="%.1f" y="%.0f" text-anchor="middle">%s</text>`+"\n", p.left+panelWidth/2, plotTop-12, title)
	for d := lowDecade; d <= highDecade; d++ {
		y := p.y(math.Pow10(d))
		fmt.Fprintf(b, `<line class="grid" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`, p.left, y, p.left+panelWidth, y)
		if labels {
			fmt.Fprintf(b, `<text class="small" x="%.1f" y="%.1f" text-anchor="end">10%s</text>`, p.left-8, y+4, string([]rune("⁰¹²³⁴⁵⁶⁷⁸⁹")[d]))
		}
		b.WriteByte('\n')
	}
	for s := 0.0; s <= maxSeconds; s += stepSeconds {
		x := p.x(s)
		fmt.Fprintf(b, `<line class="grid" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/><text class="small" x="%.1f" y="%.1f" text-anchor="middle">%.0f</text>`+"\n", x, plotTop, x, bottom, x, bottom+17, s)
	}
	fmt.Fprintf(b, `<path class="axis" fill="none" d="M%.1f %.1fV%.1fH%.1f"/>`, p.left, plotTop, bottom, p.left+panelWidth)
	fmt.Fprintf(b, `<text class="small" x="%.1f" y="%.1f" text-anchor="middle">median detection time, s</text>`+"\n", p.left+panelWidth/2, bottom+34)
}

// height of a result is its rate, or the upper bound where no mistake was seen.
func height(r result) float64 {
	if r.mistakes == 0 {
		return r.upper()
	}
	return r.rate()
}

func class(r result) string {
	switch {
	case r.who == lan:
		return "lan"
	case r.who == plainSWIM:
		return "swim"
	case r.about == withStorage:
		return "store"
	}
	return "ours"
}

// mark draws one result: a square for what most members hold, else a dot; hollow
// with an arrow where only an upper bound is known.
func (p panel) mark(b *strings.Builder, r result) {
	x, y := p.x(r.found.Seconds()), p.y(height(r))
	look := class(r)
	if r.mistakes == 0 {
		look += " open"
		fmt.Fprintf(b, `<path class="%s" d="M%.1f %.1fv13m-3 -4l3 4l3 -4"/>`, look, x, y+4)
	}
	tip := fmt.Sprintf("<title>%s, %s: %s s, %s</title>", r.who, r.about, secs(r.found), strings.ReplaceAll(r.mistakesText(), "<", "&lt;"))
	if r.about == byMost {
		fmt.Fprintf(b, `<rect class="%s" x="%.1f" y="%.1f" width="8" height="8">%s</rect>`+"\n", look, x-4, y-4, tip)
		return
	}
	fmt.Fprintf(b, `<circle class="%s" cx="%.1f" cy="%.1f" r="4">%s</circle>`+"\n", look, x, y, tip)
}

// curve joins our settings on the network alone, from hasty to calm.
func (p panel) curve(b *strings.Builder, all []result, scenario string) {
	list := slices.DeleteFunc(slices.Clone(all), func(r result) bool {
		return r.scenario != scenario || r.who != relight || r.about == withStorage
	})
	slices.SortFunc(list, func(a, b result) int { return int(a.found - b.found) })
	for i := 1; i < len(list); i++ {
		from, to := list[i-1], list[i]
		look := "ours line"
		if from.mistakes == 0 || to.mistakes == 0 {
			look += " bound" // where only an upper bound is known the curve is not
		}
		fmt.Fprintf(b, `<path class="%s" d="M%.1f %.1fL%.1f %.1f"/>`+"\n", look, p.x(from.found.Seconds()), p.y(height(from)), p.x(to.found.Seconds()), p.y(height(to)))
	}
}

func legend(b *strings.Builder, y float64) {
	x := plotLeft
	for _, l := range []struct {
		class, text string
		width       float64
	}{
		{"ours", "Relight, network only", 165}, {"store", "Relight with storage heartbeat", 215},
		{"lan", "memberlist LAN", 130}, {"swim", "near-plain SWIM (memberlist)", 210},
	} {
		fmt.Fprintf(b, `<circle class="%s" cx="%.0f" cy="%.0f" r="4"/><text class="small" x="%.0f" y="%.0f">%s</text>`+"\n", l.class, x, y, x+10, y+4, l.text)
		x += l.width
	}
	fmt.Fprintf(b, `<text class="small" x="%.0f" y="%.0f">Dot: held dead by any member, or judged down by Relight's controller. Square: held dead by most members. Hollow, dotted: none seen, upper 95 %% bound.</text>`+"\n", plotLeft-4, y+26)
}
