package simulate

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"relight/internal/api/client"
	"relight/internal/spec"
)

// specKinds are what people do to the documents while everything runs.
func specKinds() []kind {
	one := func(verb, args string, n int, do func(context.Context, *brain, string, Fault) error) kind {
		return kind{class: "person", verb: verb, args: args, min: n, max: n, apply: acts(aboutServer, do)}
	}
	return []kind{
		one("changes", "SERVER|fleet mode|priority|after|fence|budget VALUE", 3, changes),
		one("deletes", "SERVER", 1, deletes),
		one("declares", "SERVER", 1, declares),
	}
}

// changes applies the document of a server, or the policy of the fleet, with one field
// set to another value.
func changes(ctx context.Context, b *brain, by string, f Fault) error {
	kind, name := spec.KindServer, f.Args[0]
	if name == "fleet" {
		kind, name = spec.KindPolicy, spec.DefaultPolicy
	}
	old, known := docOf(b.e.docs, kind, name)
	if !known {
		return fmt.Errorf("nobody has declared %s %s", kind, name)
	}
	value, err := valueOf(f.Args[1], f.Args[2])
	if err != nil {
		return err
	}
	d, err := withField(old, f.Args[1], value)
	if err != nil {
		return err
	}
	return b.applies(ctx, by, d)
}

// valueOf reads a value as the field has it.
func valueOf(field, text string) (any, error) {
	switch {
	case field == "mode", field == "fence":
		return text, nil
	case field == "budget" && text == "none":
		return nil, nil
	case field == "budget":
		steps, window, _ := strings.Cut(text, "/")
		n, err := strconv.Atoi(steps)
		return map[string]any{"steps": n, "window": window}, err
	case field == "priority":
		return strconv.Atoi(text)
	case field == "after" && text == "none":
		return nil, nil
	case field == "after":
		return strings.Split(text, ","), nil
	default:
		return nil, fmt.Errorf("field %q: there are mode, priority, after, fence and budget", field)
	}
}

// applies sends one document.
func (b *brain) applies(ctx context.Context, by string, d spec.Doc) error {
	sent, err := client.ParseDocument(d.Raw)
	if err != nil {
		return err
	}
	return b.e.asks(docKey(d), append(without(b.e.docs, d), d), func() error {
		_, err := b.solo.Backend.Apply(ctx, by, client.ApplyRequest{Documents: []client.Document{sent}})
		return err
	})
}

// deletes has a server forgotten; its instance and its data stay.
func deletes(ctx context.Context, b *brain, by string, f Fault) error {
	d, known := docOf(b.e.applied, spec.KindServer, f.Args[0])
	if !known {
		return errors.New("nobody has declared it")
	}
	return b.e.asks(docKey(d), without(b.e.docs, d), func() error {
		return b.solo.Backend.Delete(ctx, by, client.KindServer, d.Name, 0)
	})
}

// declares applies the document of a server once more as it was at first.
func declares(ctx context.Context, b *brain, by string, f Fault) error {
	d, known := docOf(b.e.applied, spec.KindServer, f.Args[0])
	if !known {
		return errors.New("nobody has declared it")
	}
	return b.applies(ctx, by, d)
}
