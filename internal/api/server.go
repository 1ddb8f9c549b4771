// Package api is Relight's HTTP interface: resources under /api/v1 with an
// OpenAPI description, problems per RFC 9457, and a stream of events. It holds no
// logic of its own; the Backend does the work.
package api

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"relight/internal/api/client"
)

// Prefix is where the interface lies.
const Prefix = "/api/v1"

// Options are what the interface is made of. Backend and Auth are needed.
type Options struct {
	Backend Backend
	Auth    Authenticator
	// Mount adds routes that need no token, such as /livez, /readyz, /metrics
	// and the web pages. They must not lie under /api/.
	Mount func(*http.ServeMux)
	// Log takes the text of unforeseen errors; nil discards it.
	Log *slog.Logger
	// KeepAlive is the time between the comments that keep an idle stream of
	// events open through proxies; 0 means 15s.
	KeepAlive time.Duration
	// Now is the clock that relative times in requests count from; nil means
	// time.Now.
	Now func() time.Time
}

type server struct {
	backend   Backend
	auth      Authenticator
	log       *slog.Logger
	keepAlive time.Duration
	now       func() time.Time
}

// New returns the handler of the whole interface.
func New(o Options) http.Handler {
	s := &server{backend: o.Backend, auth: o.Auth, log: o.Log, keepAlive: o.KeepAlive, now: o.Now}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.keepAlive == 0 {
		s.keepAlive = 15 * time.Second
	}
	if s.now == nil {
		s.now = time.Now
	}
	mux := http.NewServeMux()
	a := s.register(mux)
	doc := describe(a)
	mux.HandleFunc("GET "+Prefix+"/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.oai.openapi+json;version=3.1")
		_, _ = w.Write(doc)
	})
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		writeProblemHTTP(w, client.NewProblem(client.CodeNotFound, "%s %s is not part of this interface", r.Method, r.URL.Path).
			WithNext("relight version"))
	})
	if o.Mount != nil {
		o.Mount(mux)
	}
	return mux
}

// OpenAPI returns the description of the interface, as it is checked in.
func OpenAPI() []byte {
	s := &server{log: slog.New(slog.DiscardHandler), now: time.Now}
	return describe(s.register(http.NewServeMux()))
}

func (s *server) register(mux *http.ServeMux) huma.API {
	cfg := huma.DefaultConfig("Relight", "v1")
	cfg.Info.Description = "Keeps servers that hold state alive. Every call needs a bearer token. Errors are RFC 9457 problems with a stable code and the command to type next."
	// No hook: it would add $schema to every answer. No docs page: it loads
	// scripts from elsewhere.
	cfg.CreateHooks = nil
	cfg.OpenAPIPath, cfg.DocsPath, cfg.SchemasPath = "", "", ""
	cfg.Transformers = []huma.Transformer{asProblem}
	cfg.Formats = map[string]huma.Format{"application/json": jsonFormat(), "json": jsonFormat()}
	cfg.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"bearer": {Type: "http", Scheme: "bearer"}}
	cfg.Security = []map[string][]string{{"bearer": {}}}
	a := humago.New(mux, cfg)
	a.UseMiddleware(s.authenticate)
	s.documents(a)
	s.servers(a)
	s.guards(a)
	s.hosts(a)
	s.snapshots(a)
	s.orphans(a)
	s.power(a)
	s.arrays(a)
	s.drills(a)
	s.incidents(a)
	s.events(a)
	s.engine(a)
	s.backups(a)
	return a
}

func jsonFormat() huma.Format {
	return huma.Format{
		Marshal:   func(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) },
		Unmarshal: json.Unmarshal,
	}
}

func (s *server) encode(w io.Writer, v any) {
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.log.Debug("answer not written", "error", err)
	}
}

// describe writes the OpenAPI description, indented, keys in order.
func describe(a huma.API) []byte {
	schemas := a.OpenAPI().Components.Schemas.Map()
	// The framework registers its own error form with each operation; no answer
	// of ours has it.
	delete(schemas, "ErrorModel")
	delete(schemas, "ErrorDetail")
	raw, err := json.Marshal(a.OpenAPI())
	if err != nil {
		panic("api: the description cannot be written: " + err.Error())
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		panic("api: the description cannot be read: " + err.Error())
	}
	out, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic("api: the description cannot be written: " + err.Error())
	}
	return append(out, '\n')
}
