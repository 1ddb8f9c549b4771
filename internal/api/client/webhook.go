package client

import (
	"context"

	"relight/internal/core/fleet"
)

// WebhookTrial is what the webhook's receiver answered to a test message.
type WebhookTrial struct {
	// Host is the receiver; the rest of its address may hold secrets.
	Host string `json:"host"`
	// Delivered tells whether the answer would have ended a real message.
	Delivered bool `json:"delivered"`
	Status    int  `json:"status,omitempty" doc:"HTTP status; absent without an answer"`
	// Answer is the begin of the answer's body.
	Answer  string         `json:"answer,omitempty"`
	Trouble string         `json:"trouble,omitempty" doc:"why there is no answer, or none that counts"`
	Took    fleet.Duration `json:"took"`
}

// TryWebhook has the engine send a test message to its webhook.
func (c *Client) TryWebhook(ctx context.Context) (WebhookTrial, error) {
	return post[WebhookTrial](ctx, c, nil, "webhook", "test")
}
