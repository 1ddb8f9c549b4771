package client

import (
	"time"

	"relight/internal/core/fleet"
)

// ApprovalRequest is a person's answer to a plan that asks. The epoch and the
// plan bind it: an approval of yesterday's plan approves nothing today.
type ApprovalRequest struct {
	Epoch  fleet.Epoch `json:"epoch"`
	Plan   string      `json:"plan" minLength:"1"`
	Reason string      `json:"reason,omitempty" maxLength:"1000"`
}

// ApprovalAnswer says where a plan stands after a person's answer.
type ApprovalAnswer struct {
	Approval fleet.Approval `json:"approval"`
	Given    int            `json:"given"`
	Needed   int            `json:"needed"`
	Message  string         `json:"message"`
}

// ApprovalRow is a plan that waits for people.
type ApprovalRow struct {
	Server string      `json:"server"`
	Epoch  fleet.Epoch `json:"epoch"`
	Plan   string      `json:"plan"`
	// Steps are the plan's sentences.
	Steps []string `json:"steps,omitempty"`
	// Reason says why the plan exists, and why it asks.
	Reason string    `json:"reason"`
	Asked  time.Time `json:"asked,omitzero"`
	// Until is when the question ends by itself.
	Until  time.Time        `json:"until,omitzero"`
	Needed int              `json:"needed"`
	Given  []fleet.Approval `json:"given,omitempty"`
}

// MaintenanceRequest opens a window, now or later. It always ends by itself.
type MaintenanceRequest struct {
	// Scope is "fleet", "site X" or "server X".
	Scope  string `json:"scope" pattern:"^(fleet|(site|server) .+)$"`
	Reason string `json:"reason" minLength:"1" maxLength:"1000"`
	// From is when it opens; now if zero.
	From time.Time `json:"from,omitzero" required:"false"`
	// For is how long it lasts.
	For fleet.Duration `json:"for" doc:"such as 1h30m"`
}

// StormView is the storm that is recorded; Storm is nil if there is none.
type StormView struct {
	Storm *fleet.StormRecord `json:"storm"`
}

// FreezeView is the fleet-wide stop as it stands; Freeze is nil if there is none.
type FreezeView struct {
	Freeze *fleet.Freeze `json:"freeze"`
}
