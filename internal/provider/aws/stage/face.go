package stage

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// facePath is below no path that AWS has.
const facePath = "/_relight/"

// call is one call of the ledger as the face tells it.
type call struct {
	At      time.Time `json:"at"`
	Service string    `json:"service"`
	Action  string    `json:"action"`
	// Code is the error's; left out where the call had its effect.
	Code string `json:"code,omitempty"`
	// Request is what was asked, for the services that are asked in forms.
	Request url.Values `json:"request,omitempty"`
}

// Handler is the account's endpoint with a face for people beside it, with which they
// break things and read what was called:
//
//	POST /_relight/fault   faults, one a line: they happen all or none
//	GET  /_relight/fault   the language of faults
//	GET  /_relight/ledger  the calls, from the number ?from= on
//
// missed hears of a fault whose time came and that came to nothing.
func (s *Stage) Handler(missed func(Fault, error)) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(facePath, func(rw http.ResponseWriter, _ *http.Request) {
		told(rw, http.StatusNotFound, map[string]string{"error": "there are POST and GET " + facePath + "fault and GET " + facePath + "ledger"})
	})
	mux.HandleFunc("GET "+facePath+"fault", func(rw http.ResponseWriter, _ *http.Request) {
		told(rw, http.StatusOK, map[string][]string{"language": FaultLanguage()})
	})
	mux.HandleFunc("POST "+facePath+"fault", func(rw http.ResponseWriter, r *http.Request) {
		faults, err := s.asked(r, missed)
		if err != nil {
			told(rw, http.StatusBadRequest, map[string]string{"error": err.Error()})
			return
		}
		told(rw, http.StatusOK, map[string]int{"faults": faults})
	})
	mux.HandleFunc("GET "+facePath+"ledger", s.ledger)
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, facePath) {
			mux.ServeHTTP(rw, r)
			return
		}
		s.Endpoint.ServeHTTP(rw, r) // past the mux, which would redirect paths that are not clean
	})
}

// maxAsked is more than anybody writes by hand.
const maxAsked = 64 << 10

// asked has the faults of a request happen, and returns how many there were.
func (s *Stage) asked(r *http.Request, missed func(Fault, error)) (int, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxAsked))
	if err != nil {
		return 0, err
	}
	var faults []Fault
	for n, line := range strings.Split(string(body), "\n") {
		line, _, _ = strings.Cut(line, "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		f, err := ParseFault(line)
		if err != nil {
			return 0, fmt.Errorf("line %d: %w", n+1, err)
		}
		faults = append(faults, f)
	}
	if faults == nil {
		return 0, fmt.Errorf("no fault was sent; %s", faultUsage)
	}
	return len(faults), s.Strike(missed, faults...)
}

func (s *Stage) ledger(rw http.ResponseWriter, r *http.Request) {
	all := s.Endpoint.Ledger()
	from := 0
	if text := r.URL.Query().Get("from"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			told(rw, http.StatusBadRequest, map[string]string{"error": fmt.Sprintf("from %q is no number of a call", text)})
			return
		}
		from = min(n, len(all))
	}
	out := struct {
		Calls []call `json:"calls"`
		Next  int    `json:"next"`
	}{[]call{}, len(all)}
	for _, e := range all[from:] {
		out.Calls = append(out.Calls, call{e.At, e.Service, e.Action, e.Code, e.Form})
	}
	told(rw, http.StatusOK, out)
}

func told(rw http.ResponseWriter, status int, what any) {
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(status)
	_ = json.NewEncoder(rw).Encode(what) // whoever hung up wants no answer
}
