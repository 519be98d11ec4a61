package upload_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

// How long a test waits for what must come, and how often it looks.
const (
	waitFor = 30 * time.Second
	tick    = 5 * time.Millisecond
)

// TestMain finds goroutines that outlive their queue, but for idle connections to a server.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}
