// Package volume guards a volume that is a directory: who may write to it now
// (a lock) and which epochs may never write again (a seal).
//
// Beside the data, in <dir>/.relight/, are two files. "lock" is locked
// exclusively by the keeper of the one instance that may write. "epoch" names
// the server that owns the volume, the highest epoch that was ever allowed to
// write and the highest epoch that is sealed: every epoch at or below it is
// refused for ever.
//
// # Why a seal is a proof
//
// A flock belongs to the open file description, not to a process. The keeper
// hands its description down to the application, so that every descendant
// holds it too, whatever becomes of the keeper. The kernel releases the lock
// when the last descriptor of that description is closed, and an exiting
// process closes its descriptors only after it has returned from its last
// system call. So whoever gets the lock knows that no process with an inherited
// descriptor is left. [Seal] then raises the epoch file before it lets go of the
// lock, and [Acquire] refuses sealed epochs under the same lock: no writer was
// left, and none of a sealed epoch can come again.
//
// The argument needs three things. The file system's lock must end exactly with
// its last holder: network and user-space file systems break that (a lease runs
// out while the client still writes, or a lock is only known to one host), so
// they are refused with [ErrUnfit]. The application must not close descriptors
// that it did not open; while its keeper lives, that does no harm, since the
// keeper holds the description too and waits for every descendant. And nobody
// may remove .relight below a running instance. Against the last two, Seal also
// refuses while a visible process has a file of the volume open for writing
// ([ErrInUse]); that is a second net, not part of the argument.
package volume
