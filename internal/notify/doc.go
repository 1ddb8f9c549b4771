// Package notify sends events to one webhook: HTTP POSTs of CloudEvents 1.0 in
// JSON, signed, at least once each.
//
// A message is one event ("application/cloudevents+json"), or the events of one
// incident that happened shortly after each other, as an array
// ("application/cloudevents-batch+json"): the loss of a host is one message,
// however many servers it takes along. All events of an incident carry its id as
// the attribute "dedupkey". An event's "id" is the same each time that it is
// sent: a receiver that has seen it may drop it.
//
// # Knowing a message again
//
// Each request carries an Idempotency-Key, the same whenever the same events are
// sent to the same address. A receiver that keeps keys can drop a whole message.
//
// # Signature
//
// Each request carries
//
//	Relight-Signature: t=1772366400,v1=5257a869…
//
// where t is the time of sending in seconds since 1970 and v1 the HMAC-SHA256,
// in hexadecimal, of the digits of t, a full stop, and the body, under the shared
// secret. A receiver computes the same over the body as it came, compares in
// constant time, and refuses a t that is more than a few minutes off, so that a
// recorded request is worth nothing later. Verify does this.
//
// # Delivery
//
// An answer of 2xx ends a message. No answer, 408, 429, 5xx and redirects (which
// are never followed: the secret's owner chose one address) are tried again, for
// ever, after a pause that doubles up to five minutes, with full jitter. Other
// 4xx are logged and end the message: it would be refused again. While an address
// does not answer, events wait in the journal: the queue is bounded and Offer
// blocks when it is full. The cursor moves past an event when it and all before it
// in its shard have ended, so that a new controller goes on where the last one
// stopped.
//
// The thinking is in Machine (inputs and the time in, effects out); Notifier is
// the thin runner around it.
package notify
