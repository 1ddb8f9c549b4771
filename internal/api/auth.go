package api

import (
	"context"
	"crypto/sha256"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"relight/internal/api/client"
)

// Person is who makes a call.
type Person struct {
	// Name goes into every guard, approval and audit entry.
	Name string
	// ReadOnly people may look at everything and change nothing.
	ReadOnly bool
}

// Authenticator turns a bearer token into a person. An error that is no
// *client.Problem reads as "not authenticated".
type Authenticator interface {
	Authenticate(ctx context.Context, token string) (Person, error)
}

// Tokens is a fixed set of bearer tokens.
type Tokens struct {
	people map[[sha256.Size]byte]Person
}

// NewTokens makes a set from token to person. It keeps only hashes, so that a
// look-up tells nothing by its time and a dump holds no token.
func NewTokens(people map[string]Person) Tokens {
	t := Tokens{people: make(map[[sha256.Size]byte]Person, len(people))}
	for token, p := range people {
		if token != "" {
			t.people[sha256.Sum256([]byte(token))] = p
		}
	}
	return t
}

// Authenticate implements Authenticator.
func (t Tokens) Authenticate(_ context.Context, token string) (Person, error) {
	p, ok := t.people[sha256.Sum256([]byte(token))]
	if !ok || token == "" {
		return Person{}, client.NewProblem(client.CodeUnauthenticated, "the token is not known")
	}
	return p, nil
}

type personKey struct{}

// by returns the name of the person who makes the call.
func by(ctx context.Context) string {
	p, _ := ctx.Value(personKey{}).(Person)
	return p.Name
}

// authenticate is the middleware in front of every operation: no token, no
// answer, and no change by those who may only look.
func (s *server) authenticate(ctx huma.Context, next func(huma.Context)) {
	scheme, token, _ := strings.Cut(ctx.Header("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		ctx.SetHeader("WWW-Authenticate", `Bearer realm="relight"`)
		s.writeProblem(ctx, client.NewProblem(client.CodeUnauthenticated, "a bearer token is needed"))
		return
	}
	p, err := s.auth.Authenticate(ctx.Context(), strings.TrimSpace(token))
	if err != nil || p.Name == "" {
		ctx.SetHeader("WWW-Authenticate", `Bearer realm="relight", error="invalid_token"`)
		s.writeProblem(ctx, problemOr(err, client.NewProblem(client.CodeUnauthenticated, "the token is not known")))
		return
	}
	if p.ReadOnly && ctx.Method() != http.MethodGet {
		s.writeProblem(ctx, client.NewProblem(client.CodeForbidden, "%s may look but not change anything", p.Name))
		return
	}
	next(huma.WithValue(ctx, personKey{}, p))
}
