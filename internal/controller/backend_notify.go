package controller

import (
	"context"

	"relight/internal/api/client"
	"relight/internal/core/fleet"
)

// TryWebhook implements api.Backend.
func (b *Backend) TryWebhook(ctx context.Context, by string) (client.WebhookTrial, error) {
	if b.Webhook == nil {
		return client.WebhookTrial{}, problem(client.CodeRefused, "this controller has no webhook: it was started without --webhook").WithNext("relight controller --help")
	}
	t, err := b.Webhook.notifier.Try(ctx, by)
	if err != nil {
		return client.WebhookTrial{}, err
	}
	return client.WebhookTrial{
		Host: t.Host, Delivered: t.Delivered, Status: t.Status, Answer: t.Body, Trouble: t.Trouble, Took: fleet.Duration(t.Took),
	}, nil
}
