package power

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"relight/internal/core/fleet"
)

// FuzzRead holds reading to its one promise: off is believed only if the program
// ended with 2, said nothing to the contrary, and is a fence agent.
func FuzzRead(f *testing.F) {
	f.Add(2, []byte("Status: OFF\n"), []byte(""), false, true)
	f.Add(2, []byte("status is on"), []byte("<resource-agent"), false, true)
	f.Add(0, []byte("Status: OFF"), []byte(""), true, false)
	f.Add(2, []byte("\xff\x00Power status = off"), []byte("x"), true, true)
	f.Fuzz(func(t *testing.T, code int, out, metadata []byte, cut, described bool) {
		p := panel{run: func(_ context.Context, _ fleet.PowerDevice, action string) answer {
			if action == "metadata" {
				return answer{code: map[bool]int{true: 0, false: 1}[described], out: metadata}
			}
			return answer{code: code, out: out, said: out, cut: cut}
		}}
		state, err := p.read(t.Context(), fleet.PowerDevice{})
		if err != nil {
			if s := err.Error(); strings.ContainsAny(s, "\n\x00") || len(s) > 3*keepComplaint+200 {
				t.Errorf("an error that cannot be shown: %q", s)
			}
			return
		}
		lower := bytes.ToLower(out)
		switch {
		case state == Off && (code != 2 || cut):
			t.Errorf("off with code %d, cut %t", code, cut)
		case state == Off && !bytes.Contains(lower, []byte("off")) && !(described && bytes.Contains(metadata, []byte("<resource-agent"))):
			t.Errorf("off of a program that is no fence agent: %q", out)
		case state == On && code != 0:
			t.Errorf("on with code %d", code)
		}
	})
}

// FuzzMetadata: whatever a program says of itself, the doubts about it are lines.
func FuzzMetadata(f *testing.F) {
	f.Add([]byte(`<resource-agent name="x"><parameters><parameter name="ip" required="1"/></parameters><actions><action name="off"/></actions></resource-agent>`))
	f.Add([]byte(`<!DOCTYPE x [<!ENTITY a "b">]><resource-agent>&a;</resource-agent>`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := parseMetadata(text)
		if err != nil {
			return
		}
		for _, d := range m.doubts(fleet.PowerDevice{Plug: "1", Options: map[string]string{"ip": "x"}}) {
			if strings.ContainsAny(d, "\n\x00") {
				t.Errorf("a doubt on two lines: %q", d)
			}
		}
	})
}
