// Package controller is the shell around the core: it collects what providers
// and agents see, asks decide for the next step, journals the intent, does the
// step and records its outcome. It makes no decision of its own.
//
// The way of one failure through the files: collect.go (signals) → view.go
// (what is known) → heal.go (decide, do, record) → intend.go (intent) → journal.go (one
// store transaction, the audit entry in it) → run.go (the loops that call it).
package controller
