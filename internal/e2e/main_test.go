package e2e

import (
	"fmt"
	"os"
	"testing"

	"github.com/stratapg/strata/walredo/walredotest/processes"
)

// childTask, in the environment, makes the test binary do a task as a child instead of running tests.
const childTask = "STRATA_E2E_CHILD"

// childTasks are the things that a child can do, by the value of childTask.
var childTasks = map[string]func() error{
	"ingest": ingestAsChild,
}

func TestMain(m *testing.M) {
	processes.ActAsWorker()
	name := os.Getenv(childTask)
	if name == "" {
		os.Exit(m.Run())
	}
	if err := childTasks[name](); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
