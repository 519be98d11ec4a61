package memstore

import (
	"testing"

	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/remotetest"
)

func TestSuite(t *testing.T) {
	remotetest.Run(t, func(*testing.T) remote.Storage { return New() }, remotetest.Options{Large: 20 << 20})
}
