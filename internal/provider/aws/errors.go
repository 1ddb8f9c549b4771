package aws

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"relight/internal/provider"
)

// classes are AWS's error codes by what they mean for a recovery. Codes that end in
// NotFound or Malformed have a rule of their own; all others are permanent: a call that
// AWS refuses for a reason that we do not know is not sent again and again.
// Source: docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html.
var classes = map[string]provider.Class{
	"Unavailable": provider.Retry, "ServiceUnavailable": provider.Retry, "InternalError": provider.Retry,
	"InternalFailure": provider.Retry, "RequestTimeout": provider.Retry, "PendingVerification": provider.Retry,
	"PriorRequestNotComplete": provider.Retry,

	"InsufficientInstanceCapacity": provider.Capacity, "InsufficientHostCapacity": provider.Capacity,
	"InsufficientReservedInstanceCapacity": provider.Capacity, "InsufficientCapacity": provider.Capacity,
	"InsufficientFreeAddressesInSubnet": provider.Capacity,

	// The account's own limits are the same in each zone: nobody leaves its data for them.
	"InstanceLimitExceeded": provider.Quota, "VcpuLimitExceeded": provider.Quota, "MaxSpotInstanceCountExceeded": provider.Quota,
	"VolumeLimitExceeded": provider.Quota,

	// A machine type that takes no more does so wherever it runs.
	"AttachmentLimitExceeded": provider.Permanent,

	"VolumeInUse": provider.Conflict, "IncorrectState": provider.Conflict, "IncorrectInstanceState": provider.Conflict,
	"Resource.AlreadyAssociated": provider.Conflict, "InvalidNetworkInterface.InUse": provider.Conflict,
	"IdempotentInstanceTerminated": provider.Conflict, "InvalidIPAddress.InUse": provider.Conflict, "InvalidTarget": provider.Conflict,
	"IncorrectState.Attachment": provider.Conflict,

	"UnauthorizedOperation": provider.Refused, "AccessDenied": provider.Refused, "AccessDeniedException": provider.Refused,
	"OperationNotPermitted": provider.Refused, "AuthFailure": provider.Refused, "OptInRequired": provider.Refused,
}

var throttles = map[string]bool{
	"RequestLimitExceeded": true, "Throttling": true, "ThrottlingException": true, "TooManyRequestsException": true,
	"RequestThrottled": true, "SlowDown": true, "PriorRequestNotComplete": true,
}

// isCode reports whether the error is AWS's with that code.
func isCode(err error, codes ...string) bool {
	var e *APIError
	if !errors.As(err, &e) {
		return false
	}
	for _, c := range codes {
		if e.Code == c {
			return true
		}
	}
	return false
}

// classed words an error for the port.
func classed(call provider.Call, err error) error {
	if err == nil {
		return nil
	}
	var already *provider.Error
	if errors.As(err, &already) {
		return err
	}
	out := &provider.Error{Class: provider.Permanent, Op: string(call.Step.Kind), Object: provider.ObjectOf(call), Err: err}
	var e *APIError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		out.Class, out.MayHaveHappened = provider.Retry, true
	case !errors.As(err, &e), e.Unanswered:
		out.Class, out.MayHaveHappened = provider.Retry, true
	case throttles[e.Code]:
		out.Class, out.Err = provider.Retry, fmt.Errorf("%w: %w", provider.ErrThrottled, err)
	case classes[e.Code] != "":
		// A server's error may have come after the effect; only one that says that it took
		// the request on no account (Unavailable: overloaded) is a refusal.
		out.Class, out.MayHaveHappened = classes[e.Code], e.Code == "InternalError" || e.Code == "InternalFailure" || e.Code == "RequestTimeout" || e.Code == "ServiceUnavailable"
	case strings.HasSuffix(e.Code, ".NotFound"), strings.HasSuffix(e.Code, "NotFound"), strings.HasPrefix(e.Code, "NoSuch"):
		out.Class = provider.NotFound
	}
	return out
}
