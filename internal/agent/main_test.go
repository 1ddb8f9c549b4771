package agent

import (
	"context"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"relight/internal/agent/keeper"
)

// The test binary is also the keeper, a host in a network namespace, and the init of a
// virtual machine with a watchdog.
func TestMain(m *testing.M) {
	if os.Getpid() == 1 || os.Getenv(dogEnv) == dogChild {
		playDog()
		return
	}
	if os.Getenv("TEST_KEEPER") != "" {
		if err := keeper.Main(context.Background(), os.Args[len(os.Args)-1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv(askEnv) != "" {
		playAsker()
		return
	}
	// The driver's wait for a keeper that was told to end outlives the driver.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("relight/internal/agent/driver/process.(*Driver).create.func1"))
}
