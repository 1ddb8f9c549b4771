package controller

import (
	"strings"
	"testing"
	"time"

	"relight/internal/api/client"
)

func TestSlowSweepsAreTold(t *testing.T) {
	c := NewCollector(time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC), time.Second)
	if c.Swept("aws", 100, time.Second) || c.checkSweeps().State != client.DoctorOK {
		t.Error("a quick sweep is told of")
	}
	if !c.Swept("aws", 100_000, 15*time.Second) || c.Swept("aws", 100_000, 16*time.Second) {
		t.Error("a slow sweep is told of once")
	}
	if check := c.checkSweeps(); check.State != client.DoctorWarn || !strings.Contains(check.Detail, "32s later") || check.Next == "" {
		t.Errorf("%+v", check)
	}
	if c.Swept("aws", 100, time.Second) || c.checkSweeps().State != client.DoctorOK || !c.Swept("aws", 100, time.Minute) {
		t.Error("it is slow for ever")
	}
}
