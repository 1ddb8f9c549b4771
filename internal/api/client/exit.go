package client

// Exit is an exit code of the command line. The table is frozen: scripts
// depend on it.
type Exit int

// The exit codes.
const (
	ExitOK            Exit = 0
	ExitFailed        Exit = 1
	ExitUsage         Exit = 2
	ExitNotFound      Exit = 3
	ExitRefused       Exit = 4 // by policy, a gate or a missing right
	ExitNeedsApproval Exit = 5
	ExitTimeout       Exit = 6 // while waiting; the work goes on
	ExitConflict      Exit = 7 // or lost lease
	ExitUnreachable   Exit = 8
	ExitPartial       Exit = 9
	ExitInterrupted   Exit = 130
)

// ExitRow is one line of the exit-code table.
type ExitRow struct {
	Code    Exit
	Meaning string
}

// Exits returns the frozen table of exit codes. Commands that compare (diff and
// plan) use 1 for "differs" and give every error a code above 1.
func Exits() []ExitRow {
	return []ExitRow{
		{ExitOK, "ok"},
		{ExitFailed, "failed"},
		{ExitUsage, "usage: the command or a document is wrong"},
		{ExitNotFound, "not found"},
		{ExitRefused, "refused by policy, gate or right"},
		{ExitNeedsApproval, "needs approval"},
		{ExitTimeout, "timeout while waiting; the work goes on"},
		{ExitConflict, "conflict or lost lease"},
		{ExitUnreachable, "engine unreachable"},
		{ExitPartial, "partial: some of it was done"},
		{ExitInterrupted, "interrupted"},
	}
}
