// Command relight-guest is the guest agent: the init of a small guest, or a
// service of a larger one. It tells the host over a virtio-serial port that the
// guest lives, as which epoch, and whether its data volume still answers.
//
// As a service its arguments are the words that an init finds on its kernel's
// command line, for instance: relight-guest relight.disk=data
package main

import (
	"fmt"
	"os"

	"relight/internal/agent/guest"
)

func main() {
	if err := guest.Main(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "relight-guest:", err)
		os.Exit(1)
	}
}
