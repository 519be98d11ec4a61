package remote_test

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/faultstore"
	"github.com/stratapg/strata/remote/memstore"
	"github.com/stratapg/strata/remote/remotetest"
)

// TestMeasuredIsAStorage runs the drivers' suite through it.
func TestMeasuredIsAStorage(t *testing.T) {
	remotetest.Run(t, func(*testing.T) remote.Storage { return remote.Measure(memstore.New(), time.Now) }, remotetest.Options{})
}

// TestMeasured counts each kind of request, by how it ended.
func TestMeasured(t *testing.T) {
	faults := faultstore.New(memstore.New(), 1)
	now := time.Unix(0, 0)
	m := remote.Measure(faults, func() time.Time { now = now.Add(time.Second); return now })
	ctx := t.Context()
	for _, key := range []string{"a", "b", "c"} {
		_, err := m.Put(ctx, key, bytes.NewReader(make([]byte, 10)), 10, remote.PutOptions{})
		require.NoError(t, err)
	}
	_, err := m.Put(ctx, "a", bytes.NewReader(make([]byte, 10)), 10, remote.PutOptions{IfAbsent: true})
	require.ErrorIs(t, err, remote.ErrExists)
	faults.Set(&faultstore.Fault{Op: faultstore.Put, Nth: 1}, &faultstore.Fault{Op: faultstore.Delete, Nth: 2})
	_, err = m.Put(ctx, "a", bytes.NewReader(make([]byte, 10)), 10, remote.PutOptions{})
	require.Error(t, err)
	require.Equal(t, remote.Requests{Done: 4, Failed: 1, Bytes: 30, Time: 5 * time.Second}, m.Requests(remote.KindPut))

	d, err := m.Get(ctx, "b", remote.GetOptions{Offset: 3})
	require.NoError(t, err)
	require.EqualValues(t, 1, m.Requests(remote.KindGet).Running)
	_, err = io.ReadAll(d.Body)
	require.NoError(t, err)
	require.NoError(t, d.Body.Close())
	require.NoError(t, d.Body.Close())
	require.Equal(t, remote.Requests{Done: 1, Bytes: 7, Time: time.Second}, m.Requests(remote.KindGet))

	for range m.List(ctx, "", remote.ListOptions{}) {
	}
	require.EqualValues(t, 3, m.Requests(remote.KindList).Keys)
	require.Error(t, m.Delete(ctx, "a", "b", "c"))
	require.Equal(t, remote.Requests{Failed: 1, Keys: 2, Time: time.Second}, m.Requests(remote.KindDelete))
	_, err = m.Head(ctx, "a")
	require.ErrorIs(t, err, remote.ErrNotFound)
	require.EqualValues(t, 1, m.Requests(remote.KindHead).Done)
}
