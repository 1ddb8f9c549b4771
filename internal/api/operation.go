package api

import (
	"context"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"relight/internal/api/client"
)

// answer is a response with a JSON body.
type answer[T any] struct {
	Body T
}

// tagged is a response whose revision travels as an entity tag.
type tagged[T any] struct {
	ETag string `header:"ETag" doc:"the revision; send it back as If-Match"`
	Body T
}

// empty is a response without a body.
type empty struct{}

// none is a request without parameters.
type none struct{}

// named is a request about one thing.
type named struct {
	Name string `path:"name" maxLength:"253"`
}

// page is the parameters of a list.
type page struct {
	Selector string `query:"selector" doc:"labels that must all match, such as tier=db,site=dc1"`
	Cursor   string `query:"cursor" doc:"next of the page before"`
	Limit    int    `query:"limit" minimum:"1" maximum:"1000" default:"200"`
}

func (p page) query() (client.ListQuery, error) {
	sel, err := client.ParseSelector(p.Selector)
	return client.ListQuery{Selector: sel, Cursor: p.Cursor, Limit: p.Limit}, err
}

// op is what differs between operations.
type op struct {
	id, method, path, summary, tag string
	status                         int
	maxBody                        int64
}

// add registers an operation, whose errors are problems.
func add[I, O any](a huma.API, s *server, o op, handle func(context.Context, *I) (*O, error)) {
	problem := a.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[client.Problem](), true, "Problem")
	huma.Register(a, huma.Operation{
		OperationID: o.id, Method: o.method, Path: Prefix + o.path, Summary: o.summary,
		Tags: []string{o.tag}, DefaultStatus: o.status, MaxBodyBytes: o.maxBody,
		BodyReadTimeout: 30 * time.Second,
		Responses: map[string]*huma.Response{
			"default": {
				Description: "problem",
				Content:     map[string]*huma.MediaType{"application/problem+json": {Schema: problem}},
			},
		},
	}, func(ctx context.Context, in *I) (*O, error) {
		out, err := handle(ctx, in)
		if err != nil {
			return nil, s.fail(o.id, err)
		}
		return out, nil
	})
}

// wrap puts a backend's result into a response.
func wrap[T any](v T, err error) (*answer[T], error) {
	if err != nil {
		return nil, err
	}
	return &answer[T]{Body: v}, nil
}

// read registers a GET without parameters.
func read[T any](a huma.API, s *server, id, path, summary, tag string, f func(context.Context) (T, error)) {
	add(a, s, op{id: id, method: http.MethodGet, path: path, summary: summary, tag: tag},
		func(ctx context.Context, _ *none) (*answer[T], error) { return wrap(f(ctx)) })
}
