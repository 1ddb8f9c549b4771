package main

import (
	"relight/internal/api/client"
	"relight/internal/controller"
)

// writeReady tells whoever waits for the controller how to reach it, in the form
// that the command line reads.
func writeReady(path string, a controller.Addresses) error {
	return client.WriteFile(path, client.File{
		Current:  "local",
		Contexts: map[string]client.Context{"local": {Server: a.URL, TokenFile: a.Token, CA: a.CA}},
	})
}
