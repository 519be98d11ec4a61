package timeline

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/remote/faultstore"
	"github.com/stratapg/strata/remote/memstore"
)

// TestRemoteFaultSweep fails the n-th call of the remote, for every n: done or not done, once or until the process is killed. After a
// single failure all is well by itself. After a kill the next process finds on the disk what was durable, and one with
// an empty disk finds in the remote what was reported.
func TestRemoteFaultSweep(t *testing.T) {
	stride := testkit.Size(7, 1, 1)
	for _, effect := range []faultstore.Effect{faultstore.Fail, faultstore.LostReply, faultstore.Twice} {
		for _, dies := range []bool{false, true} {
			if dies && effect == faultstore.Twice {
				continue
			}
			t.Run(fmt.Sprintf("effect=%d dies=%t", effect, dies), func(t *testing.T) {
				n := 1
				for sweepOnce(t, effect, n, dies) {
					n += stride
				}
				require.Greater(t, n, 20)
				t.Logf("%d calls", n-1)
			})
		}
	}
}

// sweepOnce reports whether there was an n-th call.
func sweepOnce(t *testing.T, effect faultstore.Effect, n int, dies bool) bool {
	store, p := memstore.New(), &past{}
	a := newUploader(t, store, 1, p)
	fault := &faultstore.Fault{Nth: n, Effect: effect}
	faults := []*faultstore.Fault{fault}
	if dies {
		faults = append(faults, &faultstore.Fault{Nth: n + 1, Sticky: true})
	}
	a.faults.Set(faults...)
	require.NoError(t, a.work())
	if dies {
		time.Sleep(10 * testDelay)
	} else {
		a.settle()
		require.NoError(t, a.put())
		require.NoError(t, a.tl.Flush(context.Background()))
		a.settle()
		requireNoLeak(t, store, 1)
	}
	_, hits := a.faults.Seen(fault)
	reported, durable := a.tl.RemoteConsistentLSN(), a.tl.DiskConsistentLSN()
	if !dies {
		require.Equal(t, durable, reported)
	}
	a.kill()

	if reported > 0 {
		b := newUploader(t, store, 2, p.clone())
		require.GreaterOrEqual(t, b.tl.DiskConsistentLSN(), reported)
		b.sameAll(reported)
		b.faults.Set(&faultstore.Fault{Nth: 1, Sticky: true}) // it leaves no trace but its lease
		b.kill()
		b.clean()
	}
	p.cut(durable)
	a.generation = 3
	require.NoError(t, a.start())
	a.sameAll(durable)
	a.settle()
	requireNoLeak(t, store, 3)
	a.close()
	return hits > 0
}

// clean removes what a process with its generation wrote, as if it had never been.
func (u *uploader) clean() {
	for _, key := range objects(u.t, u.store) {
		if strings.HasSuffix(key, fmt.Sprintf("-%08x", u.generation)) {
			require.NoError(u.t, u.store.Delete(context.Background(), uploadPlace.Prefix()+key))
		}
	}
}
