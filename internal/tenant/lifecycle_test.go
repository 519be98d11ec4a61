package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/memstore"
	"github.com/stratapg/strata/virtualfile"
)

// lifeOptions are remoteOptions that isolate, delete without delay, and wait for nothing by the clock.
func lifeOptions(fs virtualfile.FS, s remote.Storage) Options {
	o := remoteOptions(fs, s)
	o.Isolate = true
	o.Config.Upload.DeleteDelay = time.Microsecond
	return o
}

func openLife(t require.TestingT, ctx context.Context, o Options) (*Store, *Tenant) {
	s, err := Open(ctx, o)
	require.NoError(t, err)
	tn, err := s.DefaultTenant()
	require.NoError(t, err)
	return s, tn
}

// grow puts one page and flushes.
func grow(t require.TestingT, tl *timeline.Timeline, n uint32) page.LSN {
	lsn := tl.LastRecordLSN() + 8
	var b page.Batch
	b.PutImage(remoteKey(n), lsn, []byte{byte(n)})
	b.End = lsn
	require.NoError(t, tl.Put(context.Background(), &b))
	require.NoError(t, tl.Flush(context.Background()))
	return lsn
}

func hasPage(t require.TestingT, tl *timeline.Timeline, n uint32) {
	v, err := tl.Get(context.Background(), remoteKey(n), tl.LastRecordLSN())
	require.NoError(t, err, "page %d of %s", n, tl.Name())
	require.Equal(t, []byte{byte(n)}, v)
}

// objectsOf lists the keys of a tenant that belong to timelines.
func objectsOf(t require.TestingT, s remote.Storage, id page.TimelineID) (keys []string) {
	for e, err := range s.List(context.Background(), "", remote.ListOptions{}) {
		require.NoError(t, err)
		if strings.Contains(e.Key, "/timelines/"+id.String()+"/") {
			keys = append(keys, e.Key)
		}
	}
	return keys
}

// family makes main, its branch child, and other, each with a page.
func family(t require.TestingT, tn *Tenant) (main, child, other *timeline.Timeline) {
	ctx := context.Background()
	main, err := tn.Create(ctx, meta("main"))
	require.NoError(t, err)
	at := grow(t, main, 1)
	child, err = tn.Branch(ctx, main, "child", page.TimelineID{}, at)
	require.NoError(t, err)
	grow(t, child, 2)
	other, err = tn.Create(ctx, meta("other"))
	require.NoError(t, err)
	grow(t, other, 3)
	return main, child, other
}

func states(tn *Tenant) map[string]State {
	out := map[string]State{}
	for _, s := range tn.Statuses() {
		out[s.Name] = s.State
	}
	return out
}

// TestOffloadAndBack: an archived timeline is read only, comes and goes over restarts, and its ancestor keeps what it needs.
func TestOffloadAndBack(t *testing.T) {
	noLeaks(t)
	ctx := t.Context()
	mem, store := virtualfile.NewMem(), memstore.New()
	s, tn := openLife(t, ctx, lifeOptions(mem, store))
	_, child, _ := family(t, tn)
	require.ErrorIs(t, tn.Archive(ctx, "main"), ErrHasBranches)
	require.ErrorContains(t, tn.Archive(ctx, "main"), `"child" (active)`)
	require.ErrorContains(t, tn.Offload(ctx, "child"), "not archived")
	require.NoError(t, tn.Archive(ctx, "child"))
	require.NoError(t, tn.Archive(ctx, child.ID().String()), "again, by id")
	var b page.Batch
	b.PutImage(remoteKey(9), child.LastRecordLSN()+8, nil)
	b.End = child.LastRecordLSN() + 8
	require.ErrorIs(t, child.Put(ctx, &b), timeline.ErrArchived)
	_, err := tn.Branch(ctx, child, "no", page.TimelineID{}, child.LastRecordLSN())
	require.ErrorIs(t, err, timeline.ErrArchived)
	hasPage(t, child, 1)
	require.NoError(t, s.Close())

	s, tn = openLife(t, ctx, lifeOptions(mem, store))
	st, err := tn.Status("child")
	require.NoError(t, err)
	require.NotNil(t, st.Archived, "over a restart")
	require.NoError(t, tn.Archive(ctx, "main"))
	require.ErrorIs(t, tn.Offload(ctx, "main"), ErrHasBranches)
	require.NoError(t, tn.Offload(ctx, "child"))
	require.NoError(t, tn.Offload(ctx, "child"), "again")
	_, err = mem.Stat(filepath.Join(tn.dir, child.ID().String()))
	require.True(t, isMissing(err))
	_, err = tn.Timeline("child")
	require.ErrorIs(t, err, ErrNotActive)
	require.ErrorContains(t, err, "unarchive")
	require.ErrorIs(t, tn.Unarchive(ctx, "child"), timeline.ErrArchived, "its ancestor is")
	require.NoError(t, tn.Unarchive(ctx, "main"))
	require.NoError(t, s.Close())

	s, tn = openLife(t, ctx, lifeOptions(mem, store))
	require.Equal(t, map[string]State{"main": Active, "child": Offloaded, "other": Active}, states(tn))
	main, err := tn.Timeline("main")
	require.NoError(t, err)
	require.Contains(t, main.ReadPoints(), st.AncestorLSN, "what the branch needs")
	_, err = tn.Create(ctx, meta("child"))
	require.ErrorIs(t, err, ErrTimelineExists)
	require.ErrorIs(t, tn.Delete(ctx, "main"), ErrHasBranches)
	require.NoError(t, tn.Unarchive(ctx, "child"))
	child, err = tn.Timeline("child")
	require.NoError(t, err)
	hasPage(t, child, 1)
	hasPage(t, child, 2)
	grow(t, child, 4)
	require.NoError(t, s.Close())

	s, tn = openLife(t, ctx, lifeOptions(mem, store))
	require.Equal(t, map[string]State{"main": Active, "child": Active, "other": Active}, states(tn))
	require.NoError(t, s.Close())
}

// TestOffloadedElsewhere: whoever attaches the tenant finds its offloaded timelines offloaded, in Neon's form.
func TestOffloadedElsewhere(t *testing.T) {
	noLeaks(t)
	ctx := t.Context()
	store := memstore.New()
	s, tn := openLife(t, ctx, lifeOptions(virtualfile.NewMem(), store))
	_, child, _ := family(t, tn)
	require.NoError(t, tn.Archive(ctx, "child"))
	require.NoError(t, tn.Offload(ctx, "child"))
	require.NoError(t, s.Close())
	d, err := store.Get(ctx, "tenants/"+remoteTenant.String()+"/tenant-manifest-00000001.json", remote.GetOptions{})
	require.NoError(t, err)
	var doc struct {
		Version   int              `json:"version"`
		Offloaded []map[string]any `json:"offloaded_timelines"`
	}
	require.NoError(t, json.NewDecoder(d.Body).Decode(&doc))
	require.Equal(t, 2, doc.Version)
	require.Len(t, doc.Offloaded, 1)
	require.Equal(t, child.ID().String(), doc.Offloaded[0]["timeline_id"])
	require.Equal(t, child.Meta().Ancestor.String(), doc.Offloaded[0]["ancestor_timeline_id"])
	require.Equal(t, child.Meta().AncestorLSN.String(), doc.Offloaded[0]["ancestor_retain_lsn"])
	require.NotContains(t, doc.Offloaded[0]["archived_at"], "Z", "naive, as Neon's")

	s, _ = openLife(t, ctx, lifeOptions(virtualfile.NewMem(), store))
	tn, tls, err := s.Attach(ctx, AttachOptions{Tenant: remoteTenant})
	require.NoError(t, err)
	require.Len(t, tls, 2)
	require.Equal(t, map[string]State{"main": Active, "child": Offloaded, "other": Active}, states(tn))
	require.NoError(t, tn.Unarchive(ctx, "child"))
	back, err := tn.Timeline("child")
	require.NoError(t, err)
	hasPage(t, back, 2)
	require.NoError(t, s.Close())
}

// TestDetachAndAttach: a timeline, then a tenant, leave the disk and come back; nothing is lost, and nothing is left behind.
func TestDetachAndAttach(t *testing.T) {
	noLeaks(t)
	ctx := t.Context()
	mem, store := virtualfile.NewMem(), memstore.New()
	s, tn := openLife(t, ctx, lifeOptions(mem, store))
	_, child, _ := family(t, tn)
	require.ErrorIs(t, tn.Detach(ctx, "main", DetachOptions{}), ErrHasBranches)
	require.NoError(t, tn.Detach(ctx, "child", DetachOptions{}))
	require.NoError(t, tn.Detach(ctx, "child", DetachOptions{}), "again")
	require.NoError(t, s.Close())
	s, tn = openLife(t, ctx, lifeOptions(mem, store))
	require.Equal(t, map[string]State{"main": Active, "child": Detached, "other": Active}, states(tn))
	_, tls, err := s.Attach(ctx, AttachOptions{Tenant: remoteTenant, Timelines: []page.TimelineID{child.ID()}})
	require.NoError(t, err)
	require.Len(t, tls, 1)
	hasPage(t, tls[0], 2)
	require.Equal(t, Active, states(tn)["child"])
	id := tn.ShardID()
	require.NoError(t, s.DetachTenant(ctx, id, DetachOptions{}))
	_, err = s.DefaultTenant()
	require.ErrorIs(t, err, ErrTenantNotFound)
	require.ErrorIs(t, s.DetachTenant(ctx, id, DetachOptions{}), ErrTenantNotFound)
	require.NoError(t, s.Close())
	_, err = mem.Stat(s.tenantDir(id))
	require.True(t, isMissing(err))

	s, err = Open(ctx, lifeOptions(mem, store))
	require.NoError(t, err, "a store whose default tenant is detached")
	tn, tls, err = s.Attach(ctx, AttachOptions{Tenant: remoteTenant})
	require.NoError(t, err)
	require.Len(t, tls, 3)
	for name, n := range map[string]uint32{"main": 1, "child": 2, "other": 3} {
		tl, err := tn.Timeline(name)
		require.NoError(t, err)
		hasPage(t, tl, n)
	}
	require.NoError(t, s.Close())
	s, _ = openLife(t, ctx, lifeOptions(mem, store))
	require.NoError(t, s.Close())
}

// TestDetachOfWhatIsNowhereElse is refused.
func TestDetachOfWhatIsNowhereElse(t *testing.T) {
	noLeaks(t)
	s, tn := openLife(t, t.Context(), testOptions(virtualfile.NewMem()))
	family(t, tn)
	require.ErrorIs(t, tn.Detach(t.Context(), "other", DetachOptions{}), ErrOnlyHere)
	require.ErrorIs(t, s.DetachTenant(t.Context(), tn.ShardID(), DetachOptions{}), ErrOnlyHere)
	require.Equal(t, Active, states(tn)["other"])
	require.NoError(t, s.Close())
}

// TestDelete: children first; nothing is left anywhere, and an attachment elsewhere does not bring it back.
func TestDelete(t *testing.T) {
	noLeaks(t)
	ctx := t.Context()
	mem, store := virtualfile.NewMem(), memstore.New()
	s, tn := openLife(t, ctx, lifeOptions(mem, store))
	main, child, _ := family(t, tn)
	require.ErrorIs(t, tn.Delete(ctx, "main"), ErrHasBranches)
	require.NoError(t, tn.Delete(ctx, "child"))
	require.ErrorIs(t, tn.Delete(ctx, "child"), ErrTimelineNotFound)
	require.Empty(t, objectsOf(t, store, child.ID()))
	require.Empty(t, main.ReadPoints(), "nothing is kept for it any more")
	_, err := child.Get(ctx, remoteKey(2), child.LastRecordLSN())
	require.ErrorIs(t, err, timeline.ErrClosed)
	require.NoError(t, tn.Archive(ctx, "other"))
	require.NoError(t, tn.Offload(ctx, "other"))
	other, err := tn.Status("other")
	require.NoError(t, err)
	require.NoError(t, tn.Delete(ctx, "other"), "an offloaded one")
	require.Empty(t, objectsOf(t, store, other.ID))
	require.NoError(t, s.Close())
	s, tn = openLife(t, ctx, lifeOptions(mem, store))
	require.Equal(t, map[string]State{"main": Active}, states(tn))
	require.NoError(t, s.Close())
}

// TestDeletionGoesOnElsewhere: one that was begun, and whose disk is lost, is ended by whoever attaches the tenant.
func TestDeletionGoesOnElsewhere(t *testing.T) {
	noLeaks(t)
	ctx := t.Context()
	store := memstore.New()
	s, tn := openLife(t, ctx, lifeOptions(virtualfile.NewMem(), store))
	_, child, _ := family(t, tn)
	require.NoError(t, child.WaitUploads(ctx))
	id := child.ID()
	slot, err := tn.find("child")
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NoError(t, tn.markDeleted(ctx, slot.id))
	require.NotEmpty(t, objectsOf(t, store, id))
	s, _ = openLife(t, ctx, lifeOptions(virtualfile.NewMem(), store))
	_, _, err = s.Attach(ctx, AttachOptions{Tenant: remoteTenant, Timelines: []page.TimelineID{id}})
	require.ErrorIs(t, err, ErrDeleted)
	require.Eventually(t, func() bool { return len(objectsOf(t, store, id)) == 0 }, time.Minute, time.Millisecond)
	tn, _, err = s.Attach(ctx, AttachOptions{Tenant: remoteTenant})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(states(tn)) == 2 }, time.Minute, time.Millisecond)
	require.NoError(t, s.Close())
}

// TestImportCalledOff: a timeline that is being imported is listed and can be deleted; others are made meanwhile.
func TestImportCalledOff(t *testing.T) {
	noLeaks(t)
	ctx := t.Context()
	mem := virtualfile.NewMem()
	s, tn := openLife(t, ctx, lifeOptions(mem, memstore.New()))
	began, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := importAll(context.Background(), tn, meta("import"), 0, 1<<20, layer.Compression{}, func(ctx context.Context, sink *timeline.ImageSink) error {
			close(began)
			for n := uint32(0); ; n++ {
				if err := sink.PutImage(ctx, remoteKey(n), []byte("x")); err != nil {
					return err
				}
				time.Sleep(time.Millisecond)
			}
		})
		ended <- err
	}()
	<-began
	require.Equal(t, Creating, states(tn)["import"])
	_, err := tn.Create(ctx, meta("meanwhile"))
	require.NoError(t, err)
	_, err = tn.Timeline("import")
	require.ErrorIs(t, err, ErrNotActive)
	require.NoError(t, tn.Delete(ctx, "import"))
	require.ErrorIs(t, <-ended, context.Canceled)
	require.NotContains(t, states(tn), "import")
	names, err := mem.List(tn.dir)
	require.NoError(t, err)
	require.Len(t, names, 1)
	require.NoError(t, s.Close())
}

// TestMadeAgain: a creation may be repeated with the same parameters, and none others.
func TestMadeAgain(t *testing.T) {
	noLeaks(t)
	ctx := t.Context()
	s, tn := openLife(t, ctx, testOptions(virtualfile.NewMem()))
	m := meta("main")
	m.Timeline = page.TimelineID{1}
	tl, err := tn.Create(ctx, m)
	require.NoError(t, err)
	grow(t, tl, 1)
	again, err := tn.Create(ctx, m)
	require.NoError(t, err)
	require.Same(t, tl, again)
	for what, other := range map[string]func(){"name": func() { m.Name = "x" }, "LSN": func() { m.InitialLSN += 8 }, "checksums": func() { m.Checksums = true }} {
		m = meta("main")
		m.Timeline = page.TimelineID{1}
		other()
		_, err = tn.Create(ctx, m)
		require.ErrorIs(t, err, ErrTimelineExists, what)
	}
	child, err := tn.Branch(ctx, tl, "child", page.TimelineID{2}, firstLSN+8)
	require.NoError(t, err)
	again, err = tn.Branch(ctx, tl, "child", page.TimelineID{2}, firstLSN+8)
	require.NoError(t, err)
	require.Same(t, child, again)
	_, err = tn.Branch(ctx, tl, "child", page.TimelineID{2}, firstLSN)
	require.ErrorIs(t, err, ErrTimelineExists)
	_, err = tn.Branch(ctx, child, "child", page.TimelineID{2}, firstLSN+8)
	require.ErrorIs(t, err, ErrTimelineExists)
	made := 0
	im := meta("import")
	im.Timeline = page.TimelineID{3}
	for range 2 {
		_, err = importAll(ctx, tn, im, 0, 1<<20, layer.Compression{}, func(ctx context.Context, sink *timeline.ImageSink) error {
			made++
			return sink.PutImage(ctx, remoteKey(1), []byte("x"))
		})
		require.NoError(t, err)
	}
	require.Equal(t, 1, made)
	require.NoError(t, s.Close())
	require.True(t, errors.Is(tn.Archive(ctx, "main"), timeline.ErrClosed))
}
