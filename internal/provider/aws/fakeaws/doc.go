// Package fakeaws is an endpoint that speaks the wire protocols of AWS over a
// world: unchanged clients (the SDK, the aws command line) talk to it through
// AWS_ENDPOINT_URL. It is a fake, for what no machine of ours has: an account.
//
// What makes it worth more than an emulator are its refusals: states that take
// their time, reads that lag, token buckets, volumes that hang busy, capacity that
// is not there or turns out not to be, status checks, broken zones, cut outposts.
// All of that is the world's; this package only says it as AWS does. Each call is
// noted in a ledger.
//
// It does not check signatures: any key is let in, and what a key may not do is
// set by Deny. Calls and fields that it does not know are refused, so that nothing
// is believed to have had an effect that it had not.
package fakeaws
