package tenant

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stratapg/strata/internal/offheap"
)

func TestMain(m *testing.M) {
	// The runtime opens its poller with the first pipe and keeps it: that is no leak of the test that comes first.
	if r, w, err := os.Pipe(); err == nil {
		_, _ = r.Close(), w.Close()
	}
	goleak.VerifyTestMain(m)
}

// noLeaks fails the test if at its end it has more goroutines, descriptors or memory off the heap than at its
// start. Every test begins with it, so that all else it cleans up comes before.
func noLeaks(t *testing.T) {
	running, files, memory := goleak.IgnoreCurrent(), descriptors(t), offheap.InUse()
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		for deadline := time.Now().Add(10 * time.Second); goleak.Find(running) != nil && time.Now().Before(deadline); {
			// A goroutine that is about to end may need a while on a busy machine.
		}
		goleak.VerifyNone(t, running)
		// What a goroutine that has just ended held may be given back a moment later.
		assert.Eventually(t, func() bool { return offheap.InUse() <= memory && len(descriptors(t)) <= len(files) },
			10*time.Second, time.Millisecond)
		require.LessOrEqual(t, offheap.InUse(), memory, "bytes off the heap")
		now := descriptors(t)
		require.LessOrEqual(t, len(now), len(files), "descriptors of %v, before %v", now, files)
	})
}

// descriptors lists what this process has open, where that can be told.
func descriptors(t *testing.T) (names []string) {
	if runtime.GOOS != "linux" {
		return nil
	}
	fds, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, fd := range fds {
		if name, err := os.Readlink(filepath.Join("/proc/self/fd", fd.Name())); err == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
