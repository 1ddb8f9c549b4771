package client

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Code names one way to fail. It is part of the public API: a code is never
// given a second meaning.
type Code string

// The codes.
const (
	CodeBadRequest      Code = "RELIGHT-E1001"
	CodeInvalidDocument Code = "RELIGHT-E1002"
	CodeUnauthenticated Code = "RELIGHT-E1101"
	CodeForbidden       Code = "RELIGHT-E1102"
	CodeNotFound        Code = "RELIGHT-E2001"
	CodeCursorGone      Code = "RELIGHT-E2002"
	CodeRefused         Code = "RELIGHT-E3001"
	CodeNeedsApproval   Code = "RELIGHT-E3002"
	CodeConflict        Code = "RELIGHT-E4001"
	CodeLostLease       Code = "RELIGHT-E4002"
	CodeTimeout         Code = "RELIGHT-E5001"
	CodeUnreachable     Code = "RELIGHT-E8001"
	CodeUnavailable     Code = "RELIGHT-E8002"
	CodeInternal        Code = "RELIGHT-E9001"
	CodeUnsupported     Code = "RELIGHT-E9002"
)

// CodeRow says what a code means: its HTTP status, its title and the exit code
// of a command that ends with it.
type CodeRow struct {
	Code   Code
	Status int
	Title  string
	Exit   Exit
	// Next is the command that usually helps, used if the problem has no better.
	Next string
}

// Codes returns the table of codes, in the order of their numbers.
func Codes() []CodeRow {
	return []CodeRow{
		{CodeBadRequest, http.StatusBadRequest, "bad request", ExitUsage, "relight help"},
		{CodeInvalidDocument, http.StatusUnprocessableEntity, "invalid document", ExitUsage, "relight schema"},
		{CodeUnauthenticated, http.StatusUnauthorized, "not authenticated", ExitFailed, "relight version --token-file FILE"},
		{CodeForbidden, http.StatusForbidden, "not allowed", ExitRefused, "relight version"},
		{CodeNotFound, http.StatusNotFound, "not found", ExitNotFound, "relight get servers"},
		{CodeCursorGone, http.StatusGone, "cursor is too old", ExitFailed, "relight events"},
		{CodeRefused, http.StatusConflict, "refused by a gate", ExitRefused, "relight get servers"},
		{CodeNeedsApproval, http.StatusConflict, "needs approval", ExitNeedsApproval, "relight get approvals"},
		{CodeConflict, http.StatusPreconditionFailed, "changed in the meantime", ExitConflict, "relight diff -f FILE"},
		{CodeLostLease, http.StatusServiceUnavailable, "lease lost", ExitConflict, "relight doctor"},
		{CodeTimeout, http.StatusGatewayTimeout, "timed out", ExitTimeout, "relight events --watch"},
		{CodeUnreachable, http.StatusBadGateway, "engine unreachable", ExitUnreachable, "relight doctor"},
		{CodeUnavailable, http.StatusServiceUnavailable, "engine unavailable", ExitUnreachable, "relight doctor"},
		{CodeInternal, http.StatusInternalServerError, "internal error", ExitFailed, "relight doctor"},
		{CodeUnsupported, http.StatusNotImplemented, "not supported here", ExitFailed, "relight version"},
	}
}

// Row returns the code's row; an unknown code reads as CodeInternal.
func (c Code) Row() CodeRow {
	for _, r := range Codes() {
		if r.Code == c {
			return r
		}
	}
	return CodeInternal.Row()
}

// Problem is an RFC 9457 problem. The engine's functions return it as an error,
// the wire carries it, and the client hands it to its caller unchanged.
type Problem struct {
	Type   string `json:"type" doc:"always about:blank; code identifies the problem"`
	Title  string `json:"title" doc:"what kind of problem this is"`
	Status int    `json:"status" doc:"the HTTP status"`
	Detail string `json:"detail" doc:"what happened, in one sentence"`
	Code   Code   `json:"code" doc:"stable identifier of the kind of problem" example:"RELIGHT-E2001"`
	// NotBefore is when the same request may be taken; none if nobody can say.
	NotBefore time.Time `json:"notBefore,omitzero" doc:"when the same request may be taken, if that is known"`
	// Next is the command to type next.
	Next   string  `json:"next,omitempty" doc:"the command to type next"`
	Fields []Field `json:"fields,omitempty" doc:"which parts of the request are wrong"`
}

// Field is one wrong part of a request.
type Field struct {
	// Where is a path such as body[0].spec.mode or query.limit.
	Where   string `json:"where"`
	Message string `json:"message"`
}

// NewProblem makes a problem of a code; detail is one lower-case sentence. Next
// is the code's usual one until WithNext sets a better.
func NewProblem(code Code, format string, args ...any) *Problem {
	row := code.Row()
	return &Problem{
		Type: "about:blank", Title: row.Title, Status: row.Status, Code: code,
		Detail: fmt.Sprintf(format, args...), Next: row.Next,
	}
}

// WithNext returns a copy that names another command to type next.
func (p *Problem) WithNext(format string, args ...any) *Problem {
	c := *p
	c.Next = fmt.Sprintf(format, args...)
	return &c
}

// WithNotBefore returns a copy that says when the same request may be taken.
func (p *Problem) WithNotBefore(at time.Time) *Problem {
	c := *p
	c.NotBefore = at
	return &c
}

// WithFields returns a copy that names the wrong parts of the request.
func (p *Problem) WithFields(fields ...Field) *Problem {
	c := *p
	c.Fields = fields
	return &c
}

// NotFound is the problem of a thing that does not exist.
func NotFound(kind, name string) *Problem {
	p := NewProblem(CodeNotFound, "%s %q does not exist", strings.ToLower(kind), name)
	switch strings.ToLower(kind) {
	case "site", "host", "incident":
		return p.WithNext("relight get %ss", strings.ToLower(kind))
	case "policy":
		return p.WithNext("relight get policies")
	case "maintenance":
		return p.WithNext("relight maintain list")
	}
	return p
}

// Error returns the detail, the wrong fields and the code.
func (p *Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.Detail)
	for _, f := range p.Fields {
		fmt.Fprintf(&b, "; %s: %s", f.Where, f.Message)
	}
	fmt.Fprintf(&b, " (%s)", p.Code)
	return b.String()
}

// Exit returns the exit code of a command that ends with this problem.
func (p *Problem) Exit() Exit { return p.Code.Row().Exit }

// GetStatus returns the HTTP status of the response that carries the problem.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType returns the media type of a problem.
func (p *Problem) ContentType(string) string { return "application/problem+json" }
