package client

import "relight/internal/core/fleet"

// DrillRequest asks for the consent to break something on purpose.
type DrillRequest struct {
	Name   fleet.DrillName `json:"name" enum:"app-kill,hang,data,failback,host-loss" doc:"what is to be broken"`
	Server string          `json:"server" minLength:"1" maxLength:"253"`
	Reason string          `json:"reason,omitempty" maxLength:"1000"`
}
