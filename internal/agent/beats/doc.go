// Package beats is where hosts leave heartbeats for each other on storage that all of
// them share: a way to be seen that needs no network between them, beside the one that
// does. A heartbeat says nothing but that whoever writes it is alive.
package beats
