package tenant

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/faultstore"
	"github.com/stratapg/strata/remote/memstore"
	"github.com/stratapg/strata/virtualfile"
)

// Ids of the timelines of the script, so that whoever repeats a step means the same.
var (
	lifeMain  = page.TimelineID{0xa1}
	lifeChild = page.TimelineID{0xa2}
	lifeOther = page.TimelineID{0xa3}
)

// lifeStep is one operation. It may be repeated, by another process too.
type lifeStep struct {
	name string
	do   func(ctx context.Context, s *Store) error
}

// onTenant is a step on the default tenant.
func onTenant(name string, do func(ctx context.Context, tn *Tenant) error) lifeStep {
	return lifeStep{name, func(ctx context.Context, s *Store) error {
		tn, err := s.DefaultTenant()
		if err != nil {
			return err
		}
		return do(ctx, tn)
	}}
}

// put has a timeline hold a page, durably, here and in remote storage.
func put(id page.TimelineID, n uint32, lsn page.LSN) lifeStep {
	return onTenant(fmt.Sprintf("put %d", n), func(ctx context.Context, tn *Tenant) error {
		tl, err := tn.Timeline(id.String())
		if err != nil {
			return err
		}
		if tl.LastRecordLSN() < lsn {
			var b page.Batch
			b.PutImage(remoteKey(n), lsn, []byte{byte(n)})
			b.End = lsn
			if err := tl.Put(ctx, &b); err != nil {
				return err
			}
		}
		return tl.Flush(ctx)
	})
}

func create(name string, id page.TimelineID) lifeStep {
	return onTenant("create "+name, func(ctx context.Context, tn *Tenant) error {
		m := meta(name)
		m.Timeline = id
		_, err := tn.Create(ctx, m)
		return err
	})
}

// lifeScript makes timelines and has them go through all states.
func lifeScript() []lifeStep {
	attach := func(ids ...page.TimelineID) lifeStep {
		return lifeStep{fmt.Sprintf("attach %d", len(ids)), func(ctx context.Context, s *Store) error {
			_, _, err := s.Attach(ctx, AttachOptions{Tenant: remoteTenant, Timelines: ids})
			return err
		}}
	}
	return []lifeStep{
		create("main", lifeMain), put(lifeMain, 1, firstLSN+8),
		onTenant("branch", func(ctx context.Context, tn *Tenant) error {
			tl, err := tn.Timeline("main")
			if err == nil {
				_, err = tn.Branch(ctx, tl, "child", lifeChild, firstLSN+8)
			}
			return err
		}),
		put(lifeChild, 2, firstLSN+16), create("other", lifeOther), put(lifeOther, 3, firstLSN+8),
		onTenant("archive", func(ctx context.Context, tn *Tenant) error { return tn.Archive(ctx, "child") }),
		onTenant("offload", func(ctx context.Context, tn *Tenant) error { return tn.Offload(ctx, "child") }),
		onTenant("unarchive", func(ctx context.Context, tn *Tenant) error { return tn.Unarchive(ctx, "child") }),
		put(lifeChild, 4, firstLSN+24),
		onTenant("detach", func(ctx context.Context, tn *Tenant) error { return tn.Detach(ctx, "other", DetachOptions{}) }),
		attach(lifeOther),
		onTenant("check", func(ctx context.Context, tn *Tenant) error {
			tl, err := tn.Timeline("child")
			if err == nil {
				_, err = tl.Get(ctx, remoteKey(4), firstLSN+24)
			}
			return err
		}),
		onTenant("delete", func(ctx context.Context, tn *Tenant) error {
			if err := tn.Delete(ctx, lifeChild.String()); !errors.Is(err, ErrTimelineNotFound) {
				return err
			}
			return nil
		}),
		{"detach tenant", func(ctx context.Context, s *Store) error {
			if err := s.DetachTenant(ctx, page.TenantShardID{Tenant: remoteTenant}, DetachOptions{}); !errors.Is(err, ErrTenantNotFound) {
				return err
			}
			return nil
		}},
		attach(),
	}
}

// lifeTime is how long a step may take that a fault keeps from its end.
const lifeTime = 2 * time.Second

// TestEveryLifecycleFault runs the script over and over, and each time another operation on a file, or another request to remote
// storage, fails, or is done and its reply is lost. The next process, after a crash in every other run, repeats the step that
// failed and ends the script: nothing is lost that was not to go, and no object is left that no index names.
func TestEveryLifecycleFault(t *testing.T) {
	noLeaks(t)
	rnd := testkit.Rand(t, 1)
	for _, c := range []struct {
		name   string
		file   *virtualfile.Fault
		remote *faultstore.Fault
		stride int
	}{
		{"file", &virtualfile.Fault{Err: syscall.EIO}, nil, testkit.Size(151, 41, 1)},
		{"full disk", &virtualfile.Fault{Err: syscall.ENOSPC, Op: virtualfile.OpWrite}, nil, testkit.Size(61, 23, 1)},
		{"request", nil, &faultstore.Fault{}, testkit.Size(61, 19, 1)},
		{"lost reply", nil, &faultstore.Fault{Effect: faultstore.LostReply}, testkit.Size(61, 19, 1)},
		{"remote down", nil, &faultstore.Fault{Sticky: true}, testkit.Size(0, 61, 3)},
	} {
		if c.stride == 0 {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			for n := 1 + rnd.IntN(c.stride); ; n += c.stride {
				var file *virtualfile.Fault
				var request *faultstore.Fault
				if c.file != nil {
					file = &virtualfile.Fault{Op: c.file.Op, Err: c.file.Err, Nth: n}
				} else {
					request = &faultstore.Fault{Effect: c.remote.Effect, Sticky: c.remote.Sticky, Nth: n}
				}
				if !lifeFaultAt(t, n, file, request) {
					t.Logf("of %d operations, one in %d was hit", n-1, c.stride)
					return
				}
			}
		})
	}
}

// lifeFaultAt reports whether the fault has hit anything.
func lifeFaultAt(t *testing.T, n int, file *virtualfile.Fault, request *faultstore.Fault) (hit bool) {
	mem, objects := virtualfile.NewMem(), memstore.New()
	store := faultstore.New(objects, 1)
	fs := virtualfile.FS(mem)
	if file != nil {
		fs = virtualfile.NewFaulty(mem, file)
	} else {
		store.Set(request)
	}
	steps := lifeScript()
	at := 0
	defer func() {
		if t.Failed() {
			t.Logf("the fault hit operation %d, of step %q", n, steps[min(at, len(steps)-1)].name)
		}
	}()
	hits := func() bool {
		if file != nil {
			return file.Hits() > 0
		}
		_, n := store.Seen(request)
		return n > 0
	}
	o := lifeOptions(fs, store)
	o.Config.Upload.CloseTime = 20 * time.Millisecond
	var left *virtualfile.MemFS // what a crash leaves, with the objects that there are then
	crash := func() {
		store.Set(&faultstore.Fault{Nth: 1, Sticky: true}) // nothing changes there behind the disk's back
		objects = copyOf(t, objects)
		left = mem.CrashClone(uint64(n))
	}
	if s, err := Open(t.Context(), o); err != nil {
		require.True(t, hits(), "%v", err)
		crash()
	} else {
		for at < len(steps) {
			ctx, done := hurried(t.Context(), hits)
			err := steps[at].do(ctx, s)
			done()
			if err != nil {
				require.True(t, hits(), "%v", err)
				break
			}
			at++
		}
		if n%2 == 0 {
			crash()
		}
		if err := s.Close(); err != nil {
			require.True(t, hits(), "%v", err)
		}
	}
	if left == nil {
		left = mem
	}
	lifeGoOn(t, left, objects, steps[at:])
	return hits()
}

// hurried ends a step after lifeTime once something has failed; a machine that is slow is no fault.
func hurried(ctx context.Context, hits func() bool) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		tick := time.NewTicker(lifeTime)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if hits() {
					cancel()
				}
			}
		}
	})
	return ctx, func() {
		cancel()
		watch.Wait()
	}
}

// copyOf gives a copy of all objects.
func copyOf(t *testing.T, from *memstore.Store) *memstore.Store {
	to := memstore.New()
	for e, err := range from.List(t.Context(), "", remote.ListOptions{}) {
		require.NoError(t, err)
		d, err := from.Get(t.Context(), e.Key, remote.GetOptions{})
		if errors.Is(err, remote.ErrNotFound) {
			continue // it is being deleted
		}
		require.NoError(t, err)
		b, err := io.ReadAll(d.Body)
		require.NoError(t, err)
		_, err = to.Put(t.Context(), e.Key, bytes.NewReader(b), int64(len(b)), remote.PutOptions{})
		require.NoError(t, err)
	}
	return to
}

// lifeGoOn ends the script as the next process does, and looks at what is there then.
func lifeGoOn(t *testing.T, mem *virtualfile.MemFS, objects remote.Storage, steps []lifeStep) {
	ctx := t.Context()
	s, err := Open(ctx, lifeOptions(mem, objects))
	require.NoError(t, err)
	for _, step := range steps {
		require.NoError(t, step.do(ctx, s), "%s, again", step.name)
	}
	tn, err := s.DefaultTenant()
	require.NoError(t, err)
	require.Equal(t, map[string]State{"main": Active, "other": Active}, states(tn))
	for name, n := range map[string]uint32{"main": 1, "other": 3} {
		tl, err := tn.Timeline(name)
		require.NoError(t, err)
		hasPage(t, tl, n)
		require.NoError(t, tl.WaitUploads(ctx))
		require.NoError(t, s.env.Deletions().Flush(ctx))
		requireNoneLeft(t, s, tl, objects)
	}
	require.Empty(t, objectsOf(t, objects, lifeChild))
	require.NoError(t, s.Close())
	names, err := mem.List(tn.dir)
	require.NoError(t, err)
	require.Len(t, names, 2, "nothing else is on the disk")
}

// requireNoneLeft wants the objects of a timeline to be one index and what it names.
func requireNoneLeft(t *testing.T, s *Store, tl *timeline.Timeline, objects remote.Storage) {
	m := tl.Meta()
	part, _, err := upload.Load(t.Context(), objects, upload.Place{Tenant: m.Tenant, Timeline: m.Timeline}, s.env.Generation(m.Owner()))
	require.NoError(t, err)
	named := 0
	keys := objectsOf(t, objects, m.Timeline)
	for _, key := range keys {
		if !strings.Contains(key, "index_part.json") {
			named++
		}
	}
	require.Equal(t, len(part.Descs()), named, "%v", keys)
	require.Len(t, keys, named+1, "%v", keys)
}
