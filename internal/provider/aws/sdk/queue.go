package sdk

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	provider "relight/internal/provider/aws"
)

// Queue implements provider.Queue with SQS.
type Queue struct {
	sqs *sqs.Client
	url string
}

var _ provider.Queue = (*Queue)(nil)

// Queue returns the queue with that URL.
func (c *Client) Queue(url string) *Queue { return &Queue{sqs: sqs.NewFromConfig(c.cfg), url: url} }

// The most that one call waits for and brings.
const (
	pollSeconds  = 20
	pollMessages = 10
)

// Receive implements provider.Queue.
func (q *Queue) Receive(ctx context.Context) ([]provider.Message, error) {
	out, err := q.sqs.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: aws.String(q.url), WaitTimeSeconds: pollSeconds, MaxNumberOfMessages: pollMessages})
	if err != nil {
		return nil, failed("ReceiveMessage", err)
	}
	var list []provider.Message
	for _, m := range out.Messages {
		list = append(list, provider.Message{ID: aws.ToString(m.MessageId), Receipt: aws.ToString(m.ReceiptHandle), Body: aws.ToString(m.Body)})
	}
	return list, nil
}

// Delete implements provider.Queue.
func (q *Queue) Delete(ctx context.Context, m provider.Message) error {
	_, err := q.sqs.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: aws.String(q.url), ReceiptHandle: aws.String(m.Receipt)})
	return failed("DeleteMessage", err)
}
