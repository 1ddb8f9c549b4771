package rack

import (
	"context"
	"fmt"
	"time"

	"relight/internal/api/client"
	"relight/internal/spec"
)

// Connect makes a client out of a client.json. The controller is on this machine:
// what takes longer than the time-out has failed; 0 leaves the client's own.
func Connect(path string, timeout time.Duration) (*client.Client, error) {
	file, err := client.ReadFile(path)
	if err != nil {
		return nil, err
	}
	cfg, err := file.Contexts[file.Current].Config()
	if err != nil {
		return nil, err
	}
	if timeout > 0 {
		cfg.Timeout = timeout
	}
	return client.New(cfg)
}

// Apply declares the documents of a file's text.
func Apply(ctx context.Context, c *client.Client, name, text string) error {
	docs, err := Documents(name, text)
	if err != nil {
		return err
	}
	answer, err := c.Apply(ctx, client.ApplyRequest{Documents: docs})
	if err != nil {
		return fmt.Errorf("apply %s: %w", name, err)
	}
	for _, d := range answer.Documents {
		if d.Problem != nil {
			return fmt.Errorf("%s: %w", d.ID(), d.Problem)
		}
	}
	return nil
}

// Documents reads the documents of a file's text.
func Documents(name, text string) ([]client.Document, error) {
	docs, err := spec.Parse(spec.File{Name: name, Data: []byte(text)})
	if err != nil {
		return nil, err
	}
	out := make([]client.Document, 0, len(docs))
	for _, d := range docs {
		doc, err := client.ParseDocument(d.Raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, doc)
	}
	return out, nil
}
