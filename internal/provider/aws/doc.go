// Package aws is the provider of EC2: instances with volumes, interfaces, elastic
// addresses, target groups and names, of one account in one region.
//
// It knows AWS only through Cloud, a port of the calls that it makes; package sdk
// implements that with the AWS SDK, so that nothing else compiles it. What an
// instance is to us travels in its tags: relight:server, relight:epoch and
// relight:token. Nothing is kept here that a restart would lose: whatever must be
// known is read from the account.
package aws
