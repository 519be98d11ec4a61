package tenant

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote/memstore"
	"github.com/stratapg/strata/virtualfile"
)

// watchdog counts operations on files below a folder from the time on that nobody has any business there.
type watchdog struct {
	under atomic.Pointer[string]
	seen  atomic.Int64
	last  atomic.Pointer[string]
}

func (w *watchdog) wrap(fs virtualfile.FS) virtualfile.FS {
	return virtualfile.NewFaulty(fs, &virtualfile.Fault{Path: func(name string) bool {
		if dir := w.under.Load(); dir != nil && strings.HasPrefix(name, *dir) {
			w.seen.Add(1)
			w.last.Store(&name)
		}
		return false
	}})
}

func (w *watchdog) guard(dir string) { w.under.Store(&dir) }

func (w *watchdog) require(t *testing.T) {
	last := ""
	if p := w.last.Load(); p != nil {
		last = *p
	}
	require.Zero(t, w.seen.Load(), "the last was of %s", last)
}

// TestNothingTouchesAClosedFolder: readers, snapshots, downloads that hang, flushes and compactions are under way when a store is
// closed, a timeline is detached or deleted, or a tenant detached. Once that has returned nobody touches the folder.
func TestNothingTouchesAClosedFolder(t *testing.T) {
	noLeaks(t)
	for name, end := range map[string]func(ctx context.Context, s *Store, tn *Tenant) (dir string, err error){
		"close": func(_ context.Context, s *Store, tn *Tenant) (string, error) {
			return s.tenantDir(tn.ShardID()), s.Close()
		},
		"detach": func(ctx context.Context, _ *Store, tn *Tenant) (string, error) {
			tl, err := tn.Timeline("main")
			if err != nil {
				return "", err
			}
			return filepath.Join(tn.dir, tl.ID().String()), tn.Detach(ctx, "main", DetachOptions{})
		},
		"delete": func(ctx context.Context, _ *Store, tn *Tenant) (string, error) {
			tl, err := tn.Timeline("main")
			if err != nil {
				return "", err
			}
			return filepath.Join(tn.dir, tl.ID().String()), tn.Delete(ctx, "main")
		},
		"detach tenant": func(ctx context.Context, s *Store, tn *Tenant) (string, error) {
			return s.tenantDir(tn.ShardID()), s.DetachTenant(ctx, tn.ShardID(), DetachOptions{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			store := memstore.New()
			first, err := Open(t.Context(), lifeOptions(virtualfile.NewMem(), store))
			require.NoError(t, err)
			fill(t, first, 6)
			require.NoError(t, first.Close())
			var dog watchdog
			g := &remoteGate{Storage: store}
			s, err := Open(t.Context(), lifeOptions(dog.wrap(virtualfile.NewMem()), g))
			require.NoError(t, err)
			tn, tls, err := s.Attach(t.Context(), AttachOptions{Tenant: remoteTenant})
			require.NoError(t, err)
			stop := busy(t, tls[0])
			open := g.close() // downloads from now on hang
			hung, hang := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { _ = tls[0].Download(hung, nil) })
			// Whoever hangs for longer than closing waits gives up.
			wg.Go(func() {
				<-tls[0].Ended()
				hang()
			})
			dir, err := end(t.Context(), s, tn)
			dog.guard(dir)
			require.NoError(t, err)
			stop()
			open()
			hang()
			wg.Wait()
			_, err = tls[0].Get(t.Context(), remoteKey(0), tls[0].LastRecordLSN())
			require.ErrorIs(t, err, timeline.ErrClosed)
			dog.require(t)
			require.NoError(t, s.Close())
		})
	}
}

// TestCloseEndsReadsThatHang: a read waits for a download that hangs, and nobody else gives either of them up.
func TestCloseEndsReadsThatHang(t *testing.T) {
	noLeaks(t)
	store := memstore.New()
	first, err := Open(t.Context(), lifeOptions(virtualfile.NewMem(), store))
	require.NoError(t, err)
	fill(t, first, 3)
	require.NoError(t, first.Close())
	var dog watchdog
	g := &remoteGate{Storage: store}
	s, err := Open(t.Context(), lifeOptions(dog.wrap(virtualfile.NewMem()), g))
	require.NoError(t, err)
	tn, tls, err := s.Attach(t.Context(), AttachOptions{Tenant: remoteTenant})
	require.NoError(t, err)
	open := g.close()
	defer open()
	read := make(chan error, 1)
	go func() {
		_, err := tls[0].Get(t.Context(), remoteKey(0), tls[0].LastRecordLSN())
		read <- err
	}()
	require.Eventually(t, func() bool { return g.open.Load() > 0 }, time.Minute, time.Millisecond)
	dir := s.tenantDir(tn.ShardID())
	require.NoError(t, s.Close())
	dog.guard(dir)
	select {
	case err := <-read:
		require.ErrorIs(t, err, timeline.ErrClosed)
	case <-time.After(time.Minute):
		t.Error("the read goes on in a closed store")
	}
	open()
	dog.require(t)
}

// busy reads, holds a snapshot, writes and compacts, until stop is called.
func busy(t *testing.T, tl *timeline.Timeline) (stop func()) {
	last := tl.LastRecordLSN()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	loop := func(do func() error) {
		wg.Go(func() {
			for ctx.Err() == nil && do() == nil {
			}
		})
	}
	snapshot, err := tl.Snapshot(ctx, last)
	require.NoError(t, err)
	began := make(chan struct{}, 1)
	loop(func() error {
		_, err := snapshot.Get(ctx, remoteKey(0), last)
		select {
		case began <- struct{}{}:
		default:
		}
		return err
	})
	loop(func() error {
		_, err := tl.Get(ctx, remoteKey(3), last)
		return err
	})
	loop(func() error {
		lsn := tl.LastRecordLSN() + 8
		var b page.Batch
		b.PutImage(remoteKey(7), lsn, remotePage(7, lsn))
		b.End = lsn
		if err := tl.Put(ctx, &b); err != nil {
			return err
		}
		return tl.Flush(ctx)
	})
	<-began
	return func() {
		cancel()
		wg.Wait()
		snapshot.Close()
	}
}
