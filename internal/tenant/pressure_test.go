package tenant

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// isNewDelta tells the temporary name of a delta that is being written.
func isNewDelta(name string) bool { return strings.Contains(name, "-XXX__") }

// gate holds back every creation of a layer file until it is opened.
type gate struct {
	virtualfile.FS
	open chan struct{}
}

func (g gate) OpenFile(name string, flags virtualfile.Flags) (virtualfile.File, error) {
	if flags&virtualfile.FlagCreate != 0 && isNewDelta(name) {
		<-g.open
	}
	return g.FS.OpenFile(name, flags)
}

func (g gate) Create(name string) (virtualfile.File, error) {
	if isNewDelta(name) {
		<-g.open
	}
	return g.FS.Create(name)
}

// TestPressureStops: where nothing is flushed, puts come to an end at the limit of unflushed bytes, a try
// says so at once, a waiting one ends with its context, and all goes on with the flush.
func TestPressureStops(t *testing.T) {
	noLeaks(t)
	const stop = 64 << 10
	g := gate{virtualfile.NewMem(), make(chan struct{})}
	o := testOptions(g)
	o.Config.CheckpointDistance, o.Config.MaxFrozen = 1<<30, 8
	o.Config.Pressure = timeline.Pressure{UnflushedStop: stop}
	s, _, tl := opened(t, o)
	var once sync.Once
	release := func() { once.Do(func() { close(g.open) }) }
	defer release()

	ctx := context.Background()
	lsn := firstLSN
	put := func(try bool) error {
		var b page.Batch
		b.PutImage(modelKeys[0], lsn+8, make([]byte, 4<<10))
		f := tl.Put
		if try {
			f = tl.TryPut
		}
		err := f(ctx, &b)
		if err == nil {
			lsn += 8
		}
		return err
	}
	puts := 0
	for ; put(true) == nil; puts++ {
		require.Less(t, puts, 1000, "no stop")
	}
	require.ErrorIs(t, put(true), timeline.ErrBackpressure)
	require.Equal(t, lsn, tl.LastRecordLSN(), "a refused batch leaves nothing")
	require.LessOrEqual(t, int64(puts)*4<<10, int64(stop+8<<10))

	timeout, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	var b page.Batch
	b.PutImage(modelKeys[0], lsn+8, []byte("late"))
	require.ErrorIs(t, tl.Put(timeout, &b), context.DeadlineExceeded)
	require.Equal(t, lsn, tl.LastRecordLSN())
	require.Positive(t, s.Metrics().PutWaits)

	release()
	require.NoError(t, put(false))
	v, err := tl.Get(ctx, modelKeys[0], lsn)
	require.NoError(t, err)
	require.Len(t, v, 4<<10)
}

// TestPressureOfL0 stops puts at a height of the L0 stack, which only a compaction would lower.
func TestPressureOfL0(t *testing.T) {
	noLeaks(t)
	o := testOptions(virtualfile.NewMem())
	o.Config.Pressure = timeline.Pressure{L0Slow: 2, L0Stop: 4}
	_, _, tl := opened(t, o)
	ctx := context.Background()
	lsn := firstLSN
	for range 4 {
		lsn += 8
		require.NoError(t, putImage(tl, modelKeys[0], lsn, []byte("x")))
		require.NoError(t, tl.Flush(ctx))
	}
	var b page.Batch
	b.PutImage(modelKeys[0], lsn+8, []byte("y"))
	require.ErrorIs(t, tl.TryPut(ctx, &b), timeline.ErrBackpressure)
	timeout, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, tl.Put(timeout, &b), context.DeadlineExceeded)
	require.NoError(t, tl.Flush(ctx), "flushing stays possible")
}

func TestWaitLSN(t *testing.T) {
	noLeaks(t)
	s, _, tl := opened(t, testOptions(virtualfile.NewMem()))
	ctx := context.Background()
	require.NoError(t, tl.WaitLSN(ctx, firstLSN))
	timeout, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	err := tl.WaitLSN(timeout, firstLSN+8)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, (firstLSN + 8).String())

	read := make(chan error, 1)
	go func() {
		err := tl.WaitLSN(ctx, firstLSN+80)
		if err == nil {
			_, err = tl.Get(ctx, modelKeys[0], firstLSN+80)
		}
		read <- err
	}()
	for lsn := firstLSN + 8; lsn <= firstLSN+80; lsn += 8 {
		require.NoError(t, putImage(tl, modelKeys[0], lsn, []byte("x")))
	}
	require.NoError(t, <-read)

	go func() { read <- tl.WaitLSN(ctx, page.MaxLSN) }()
	require.NoError(t, s.Close())
	require.ErrorIs(t, <-read, timeline.ErrClosed)
}

// TestNextDurable follows every flush, and says nothing that a crash would take back.
func TestNextDurable(t *testing.T) {
	noLeaks(t)
	_, _, tl := opened(t, testOptions(virtualfile.NewMem()))
	ctx := context.Background()
	lsn, moved := tl.NextDurable()
	require.Equal(t, firstLSN, lsn)
	for i := range 5 {
		at := firstLSN + page.LSN(8*(i+1))
		require.NoError(t, putImage(tl, modelKeys[0], at, []byte("x")))
		select {
		case <-moved:
			t.Fatal("moved before the flush")
		default:
		}
		require.NoError(t, tl.Flush(ctx))
		<-moved
		lsn, moved = tl.NextDurable()
		require.Equal(t, at, lsn)
		require.Equal(t, at, tl.DiskConsistentLSN())
	}
}

// TestCheckpointTimeout: what little traffic leaves in memory becomes durable by itself, also when a flush
// by hand came between.
func TestCheckpointTimeout(t *testing.T) {
	noLeaks(t)
	o := testOptions(virtualfile.NewMem())
	o.Config.CheckpointTimeout = 5 * time.Millisecond
	_, _, tl := opened(t, o)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for i := range 20 {
		at := firstLSN + page.LSN(8*(i+1))
		require.NoError(t, putImage(tl, modelKeys[0], at, []byte("x")))
		if i%3 == 0 {
			require.NoError(t, tl.Flush(ctx))
		}
		for lsn, moved := tl.NextDurable(); lsn < at; lsn, moved = tl.NextDurable() {
			select {
			case <-moved:
			case <-ctx.Done():
				t.Fatal("never written")
			}
		}
	}
}

// TestNoCheckpointTimeout: a period of 0 writes nothing by itself.
func TestNoCheckpointTimeout(t *testing.T) {
	noLeaks(t)
	_, _, tl := opened(t, testOptions(virtualfile.NewMem()))
	require.NoError(t, putImage(tl, modelKeys[0], firstLSN+8, []byte("x")))
	time.Sleep(20 * time.Millisecond)
	require.Equal(t, firstLSN, tl.DiskConsistentLSN())
}
