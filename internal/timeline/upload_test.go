package timeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/compaction/catalog"
	"github.com/stratapg/strata/internal/clock"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/faultstore"
	"github.com/stratapg/strata/remote/memstore"
	"github.com/stratapg/strata/virtualfile"
)

var (
	uploadTenant   = page.TenantID{0xAA}
	uploadTimeline = page.TimelineID{0xBB}
	uploadPlace    = upload.Place{Tenant: uploadTenant, Timeline: uploadTimeline}
)

const (
	uploadKeys     = 8
	uploadStrategy = "legacy"
)

// past is what a timeline should hold: each key's values, oldest first.
type past struct {
	values [uploadKeys][]pastValue
	last   page.LSN
}

type pastValue struct {
	lsn   page.LSN
	value string
}

// at gives a key's value as of an LSN, empty if there is none.
func (p *past) at(key int, lsn page.LSN) (v string) {
	for _, x := range p.values[key] {
		if x.lsn <= lsn {
			v = x.value
		}
	}
	return v
}

// cut forgets what lies above an LSN, as a crash does.
func (p *past) cut(lsn page.LSN) {
	for k := range p.values {
		p.values[k] = slices.DeleteFunc(p.values[k], func(v pastValue) bool { return v.lsn > lsn })
	}
	p.last = lsn
}

func (p *past) clone() *past {
	c := *p
	for k := range c.values {
		c.values[k] = slices.Clone(c.values[k])
	}
	return &c
}

// uploader is a process that writes a timeline: its disk, and its view of the remote.
type uploader struct {
	t          testing.TB
	fs         virtualfile.FS
	root       string // of the store in the file system
	change     func(*Config)
	faults     *faultstore.Store
	store      remote.Storage // without the faults
	generation uint32
	from       uint32 // the generation of the index that it was attached by; 0 if there was none
	env        *Env
	tl         *Timeline
	past       *past
	rnd        *rand.Rand
}

// testDelay is what takes seconds outside tests.
const testDelay = 2 * time.Millisecond

// shortly is a hundred times as fast as it should be.
func shortly(ctx context.Context, d time.Duration) error { return clock.Sleep(ctx, d/100) }

const storeDir = "store"

func (u *uploader) storeDir() string     { return filepath.Join(u.root, storeDir) }
func (u *uploader) timelinesDir() string { return filepath.Join(u.storeDir(), "timelines") }

// newUploader starts a process with an empty disk: it attaches what the remote has, or makes the timeline.
func newUploader(t testing.TB, store remote.Storage, generation uint32, p *past) *uploader {
	u := &uploader{t: t, fs: virtualfile.NewMem(), store: store, faults: faultstore.New(store, 1), generation: generation, past: p,
		rnd: rand.New(rand.NewPCG(uint64(generation), 3))}
	require.NoError(t, u.start())
	return u
}

func (u *uploader) config() (c Config, err error) {
	strategy, err := catalog.New(uploadStrategy)
	if err != nil {
		return c, err
	}
	c = Config{
		FS: u.fs, CheckpointDistance: 1 << 30, MaxFrozen: 2, MaxOpenFiles: 64, Scratch: u.storeDir(), Memory: 64 << 20, ValidateIO: true,
		MinManifestRewrite: 600, Redoer: joiner{}, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Clock: time.Now,
		Compaction: CompactionConfig{Strategy: strategy, Options: compaction.Options{CheckpointDistance: 4 << 10, CompactionTargetSize: 8 << 10,
			CompactionThreshold: 2, ImageCreationThreshold: 1, ImageCheckDistance: 1, MaxVisits: 3, MaxRecords: 4}},
		Remote: u.faults, Download: DownloadConfig{Attempts: 3, Pause: time.Microsecond}, Upload: UploadConfig{CloseTime: testDelay, DeleteDelay: testDelay}, Sleep: shortly,
	}
	if u.change != nil {
		u.change(&c)
	}
	return c, nil
}

// start begins the process on its disk.
func (u *uploader) start() (err error) {
	if err := u.fs.MkdirAll(u.timelinesDir()); err != nil {
		return err
	}
	if err := errors.Join(u.fs.SyncDir(filepath.Clean(u.root)), u.fs.SyncDir(u.storeDir())); err != nil {
		return err
	}
	c, err := u.config()
	if err != nil {
		return err
	}
	if u.env, err = NewEnv(c); err != nil {
		return err
	}
	u.env.SetGeneration(page.TenantShardID{Tenant: uploadTenant}, u.generation)
	if u.tl, err = u.open(); err != nil {
		return errors.Join(err, u.env.Close())
	}
	return nil
}

func (u *uploader) open() (*Timeline, error) {
	ctx := context.Background()
	dir := filepath.Join(u.timelinesDir(), uploadTimeline.String())
	if _, err := u.fs.Stat(dir); err == nil {
		o, err := Open(ctx, u.env, dir, page.TenantShardID{Tenant: uploadTenant}, uploadTimeline)
		if err != nil {
			return nil, err
		}
		return o.Start(nil)
	}
	part, from, err := upload.Load(ctx, u.store, uploadPlace, u.generation)
	u.from = from
	if errors.Is(err, remote.ErrNotFound) {
		m := manifest.Meta{Tenant: uploadTenant, Timeline: uploadTimeline, Name: "main", Version: pg.V17, InitialLSN: readFirst, WALSegSize: 16 << 20}
		u.past.last = max(u.past.last, readFirst)
		return Create(ctx, u.env, u.timelinesDir(), m, 0, nil, nil)
	}
	if err != nil {
		return nil, err
	}
	return Adopt(ctx, u.env, u.timelinesDir(), Adoption{Tenant: uploadTenant, ID: uploadTimeline, Name: "main", Index: part})
}

// put writes some keys at the next LSN.
func (u *uploader) put() error {
	lsn := u.tl.LastRecordLSN() + 8
	var b page.Batch
	for k := range uploadKeys {
		if u.rnd.IntN(2) == 0 && k > 0 {
			continue
		}
		v := fmt.Sprintf("%d@%s of %d %0200d", k, lsn, u.generation, u.rnd.Uint64())
		b.PutImage(blockKey(k), lsn, []byte(v))
		u.past.values[k] = append(u.past.values[k], pastValue{lsn, v})
	}
	u.past.last = lsn
	return u.tl.Put(context.Background(), &b)
}

func (u *uploader) compact() error {
	_, err := u.tl.Compact(context.Background(), CompactRequest{})
	return err
}

// work is a little of everything that publishes.
func (u *uploader) work() error {
	for range 3 {
		if err := errors.Join(u.put(), u.put(), u.tl.Flush(context.Background())); err != nil {
			return err
		}
	}
	return u.compact()
}

// settle has everything uploaded and deleted.
func (u *uploader) settle() {
	ctx := context.Background()
	require.Eventually(u.t, func() bool {
		u.tl.removeDead()
		return len(u.tl.compact.doomed()) == 0 || u.tl.WaitUploads(ctx) == nil
	}, time.Minute, time.Millisecond)
	require.NoError(u.t, u.tl.WaitUploads(ctx))
	require.NoError(u.t, u.env.Deletions().Flush(ctx))
}

// same reads everything at an LSN, and compares.
func (u *uploader) same(lsn page.LSN) { require.NoError(u.t, u.trySame(lsn)) }

// trySame is same, where a read may fail, but not be wrong.
func (u *uploader) trySame(lsn page.LSN) error {
	got := map[page.Key]string{}
	err := u.tl.GetVectored(context.Background(), page.NewSet(page.FullRange), lsn, func(k page.Key, v []byte, err error) error {
		got[k] = string(v)
		return err
	})
	if err != nil {
		return err
	}
	for k := range uploadKeys {
		require.Equal(u.t, u.past.at(k, lsn), got[blockKey(k)], "key %d at %s", k, lsn)
	}
	return nil
}

// evict has all layers leave the disk that may.
func (u *uploader) evict() {
	resident, _, err := u.tl.Resident()
	require.NoError(u.t, err)
	var ds []layer.Desc
	for _, r := range resident {
		ds = append(ds, r.Desc)
	}
	_, err = u.tl.Evict(context.Background(), ds...)
	require.NoError(u.t, err)
}

// sameAll compares at every LSN up to one.
func (u *uploader) sameAll(upTo page.LSN) {
	for lsn := page.LSN(readFirst); lsn <= upTo; lsn += 8 {
		u.same(lsn)
	}
}

// kill ends the process without a word: what it has not synced is lost, and nothing that it still does counts.
func (u *uploader) kill() {
	// What the remote still comes to have, this disk had before.
	u.faults.Set(&faultstore.Fault{Nth: 1, Sticky: true})
	clone := u.fs.(*virtualfile.MemFS).CrashClone(u.rnd.Uint64())
	_ = u.tl.Close()
	_ = u.env.Close()
	u.fs, u.faults = clone, faultstore.New(u.store, 1)
}

func (u *uploader) close() {
	require.NoError(u.t, u.tl.Close())
	require.NoError(u.t, u.env.Close())
}

// objects lists the timeline's objects.
func objects(t testing.TB, store remote.Storage) (keys []string) {
	for e, err := range store.List(context.Background(), uploadPlace.Prefix(), remote.ListOptions{}) {
		require.NoError(t, err)
		keys = append(keys, strings.TrimPrefix(e.Key, uploadPlace.Prefix()))
	}
	return keys
}

// requireNoLeak compares the remote with its index: all that is named is there, and nothing else.
func requireNoLeak(t testing.TB, store remote.Storage, generation uint32) {
	part, g, err := upload.Load(context.Background(), store, uploadPlace, generation)
	require.NoError(t, err)
	ds := part.Descs()
	want := []string{strings.TrimPrefix(uploadPlace.IndexKey(g), uploadPlace.Prefix())}
	for i := range ds {
		want = append(want, upload.ObjectName(&ds[i]))
	}
	slices.Sort(want)
	require.Equal(t, want, objects(t, store))
}

// TestRemoteAlone: what was uploaded is the timeline, on an empty disk and with a higher generation; nothing is left over.
func TestRemoteAlone(t *testing.T) {
	store, p := memstore.New(), &past{}
	a := newUploader(t, store, 1, p)
	for range 3 {
		require.NoError(t, a.work())
	}
	a.settle()
	require.Equal(t, a.tl.DiskConsistentLSN(), a.tl.RemoteConsistentLSN())
	require.True(t, a.tl.UploadStatus().Idle())
	requireNoLeak(t, store, 1)
	m := a.env.Metrics().Uploads
	require.Positive(t, m.Deletions.Deleted)
	require.Zero(t, m.Deletions.Pending)
	require.Zero(t, m.Owed)
	a.close()

	b := newUploader(t, store, 2, p)
	b.sameAll(p.last)
	require.NoError(t, b.work())
	b.settle()
	b.sameAll(p.last)
	requireNoLeak(t, store, 2)
	info, was := b.tl.Info(), a.tl.Meta()
	require.Equal(t, was, b.tl.Meta())
	require.Equal(t, p.last, info.DiskConsistentLSN)
	b.close()
}

// TestReopen: what was durable and not uploaded when a process ended is uploaded by the next; a layer that is there is not.
func TestReopen(t *testing.T) {
	store, p := memstore.New(), &past{}
	a := newUploader(t, store, 1, p)
	require.NoError(t, a.work())
	a.settle()
	a.faults.Set(&faultstore.Fault{Op: faultstore.Put, Nth: 1, Sticky: true})
	require.NoError(t, errors.Join(a.put(), a.tl.Flush(t.Context())))
	durable := a.tl.DiskConsistentLSN()
	a.kill()
	require.NoError(t, a.start())
	require.NoError(t, a.tl.WaitUploads(t.Context()))
	require.Equal(t, durable, a.tl.RemoteConsistentLSN())
	require.EqualValues(t, 1, a.env.Metrics().Uploads.Layers)
	a.close()
	// An index that is as it should be is not written again, but for one of a new generation.
	require.NoError(t, a.start())
	require.NoError(t, a.tl.WaitUploads(t.Context()))
	require.Zero(t, a.env.Metrics().Uploads.Layers)
	a.close()
	b := newUploader(t, store, 2, p)
	b.sameAll(durable)
	b.close()
}

// TestMovedKeysAreAdopted: of which keys layers need not be asked any more is said by the index too, and by nothing that is gone.
func TestMovedKeysAreAdopted(t *testing.T) {
	store, p := memstore.New(), &past{}
	a := newUploader(t, store, 1, p)
	require.NoError(t, errors.Join(a.put(), a.tl.Flush(t.Context()), a.put(), a.tl.Flush(t.Context())))
	require.NoError(t, a.tl.WaitUploads(t.Context()))
	part, _, err := upload.Load(t.Context(), store, uploadPlace, 1)
	require.NoError(t, err)
	ds := part.Descs()
	require.Len(t, ds, 2)
	keys := []page.Range{{Start: blockKey(1), End: blockKey(3)}, {Start: blockKey(5), End: blockKey(6)}}
	gone := ds[0]
	gone.LSNs.Start -= 8
	part.Origin.Moved = map[string][]page.Range{ds[1].Name(): keys, gone.Name(): keys}
	s, err := (&Adoption{Tenant: uploadTenant, ID: uploadTimeline, Name: "main", Index: part}).state()
	require.NoError(t, err)
	bare := ds[1]
	bare.Size = 0
	require.Equal(t, []manifest.Moved{{Layer: bare, Keys: keys}}, s.Moved)
	part.Origin.Moved["nothing"] = keys
	_, err = (&Adoption{Tenant: uploadTenant, ID: uploadTimeline, Name: "main", Index: part}).state()
	require.ErrorContains(t, err, "moved keys")
	a.close()
}

// TestOldCopy: a disk that is behind the remote must not overwrite it.
func TestOldCopy(t *testing.T) {
	store, p := memstore.New(), &past{}
	a := newUploader(t, store, 1, p)
	require.NoError(t, a.work())
	a.settle()
	old := a.fs.(*virtualfile.MemFS).CrashClone(1)
	require.NoError(t, a.work())
	a.settle()
	before := objects(t, store)
	a.close()
	a.fs = old
	require.NoError(t, a.start())
	require.ErrorIs(t, a.tl.WaitUploads(t.Context()), upload.ErrStale)
	require.NoError(t, a.put())
	require.NoError(t, a.tl.Flush(t.Context()))
	require.Equal(t, before, objects(t, store))
	require.True(t, a.tl.UploadStatus().Stale)
	require.Zero(t, a.tl.RemoteConsistentLSN())
	a.close()
}

// TestTwoWriters: once another has attached, the first one's reports stand still, it deletes nothing, and what it writes is not seen.
func TestTwoWriters(t *testing.T) {
	store := memstore.New()
	leases := upload.Leases{Remote: store}
	g, err := leases.Acquire(t.Context(), uploadPlace, 0)
	require.NoError(t, err)
	a := newUploader(t, store, g, &past{})
	require.NoError(t, a.work())
	a.settle()
	said, deleted := a.tl.RemoteConsistentLSN(), a.env.Deletions().Counts().Deleted

	g, err = leases.Acquire(t.Context(), uploadPlace, 0)
	require.NoError(t, err)
	ofB := a.past.clone()
	b := newUploader(t, store, g, ofB)
	require.NoError(t, b.tl.WaitUploads(t.Context()))
	named := objects(t, store)
	require.NoError(t, a.work())
	require.ErrorIs(t, a.tl.WaitUploads(t.Context()), upload.ErrStale)
	require.Equal(t, said, a.tl.RemoteConsistentLSN())
	require.NoError(t, a.env.Deletions().Flush(t.Context()))
	require.Equal(t, deleted, a.env.Deletions().Counts().Deleted)
	require.Subset(t, objects(t, store), slices.DeleteFunc(named, func(s string) bool { return strings.HasPrefix(s, "index_part") }))
	b.sameAll(said)
	require.NoError(t, b.work())
	b.settle()
	b.sameAll(ofB.last)
	a.sameAll(a.past.last) // from its own disk
	a.close()
	// What the first one left goes when the next opens.
	b.close()
	require.NoError(t, b.start())
	b.settle()
	requireNoLeak(t, store, g)
	b.sameAll(ofB.last)
	b.close()
}

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

// TestUploadModel does at random what processes do: write, compact, evict, fail, die at any call of the remote, come back on their
// disk or attach elsewhere while the old one still runs and writes. After each attachment from the remote alone all that was reported
// is right, and what a stale process reads is right or an error.
func TestUploadModel(t *testing.T) {
	steps := testkit.Size(40, 250, 100_000)
	perRun := min(steps, 500)
	runs, withTwo, done := steps/perRun, 0, map[string]int{}
	first := testkit.Rand(t, 9).Uint64()
	for run := range uint64(runs) {
		t.Run(fmt.Sprintf("run=%d", run), func(t *testing.T) {
			m := newUploadModel(t, first+run)
			m.run(perRun)
			if m.done["attach"] > 0 && m.done["stale"] > 0 {
				withTwo++
			}
			for name, n := range m.done {
				done[name] += n
			}
		})
	}
	t.Logf("%d runs, %d of them with two writers: %v", runs, withTwo, done)
}

// uploadModel is one run: a writer, and perhaps the one that it has replaced.
type uploadModel struct {
	t      *testing.T
	rnd    *rand.Rand
	store  remote.Storage
	leases upload.Leases
	a      *uploader
	old    *uploader
	taken  page.LSN         // where the new one took over
	pasts  map[uint32]*past // what a writer of each generation has put
	done   map[string]int
}

func newUploadModel(t *testing.T, seed uint64) *uploadModel {
	store := memstore.New()
	m := &uploadModel{t: t, rnd: rand.New(rand.NewPCG(seed, 9)), store: store, leases: upload.Leases{Remote: store}, pasts: map[uint32]*past{}, done: map[string]int{}}
	m.a = newUploader(t, store, m.acquire(), &past{})
	m.pasts[m.a.generation] = m.a.past
	return m
}

func (m *uploadModel) acquire() uint32 {
	g, err := m.leases.Acquire(m.t.Context(), uploadPlace, 0)
	require.NoError(m.t, err)
	return g
}

// excused passes over what remote storage may do to those who need it.
func (m *uploadModel) excused(err error) bool {
	if errors.Is(err, remote.ErrUnavailable) || errors.Is(err, ErrStale) {
		return true
	}
	require.NoError(m.t, err)
	return false
}

// uploadOps are the steps with their weights.
var uploadOps = []struct {
	name   string
	weight int
	do     func(*uploadModel)
}{
	{"put", 8, func(m *uploadModel) { require.NoError(m.t, m.a.put()) }},
	{"flush", 4, func(m *uploadModel) { require.NoError(m.t, m.a.tl.Flush(m.t.Context())) }},
	{"compact", 2, func(m *uploadModel) { m.excused(m.a.compact()) }},
	{"evict", 2, func(m *uploadModel) { m.a.evict() }},
	{"read", 2, func(m *uploadModel) { m.excused(m.a.trySame(m.somewhere(m.a))) }},
	{"wait", 1, func(m *uploadModel) {
		m.a.faults.Set()
		m.a.settle()
	}},
	{"time", 2, func(m *uploadModel) { time.Sleep(time.Duration(m.rnd.IntN(3)) * testDelay) }},
	{"faults", 1, func(m *uploadModel) {
		m.a.faults.Set(&faultstore.Fault{Chance: m.rnd.Float64() / 2}, &faultstore.Fault{Chance: m.rnd.Float64() / 2, Effect: faultstore.LostReply})
	}},
	{"dying", 1, func(m *uploadModel) { // the remote hears no more of it from some call on
		m.a.faults.Set(&faultstore.Fault{Nth: 1 + m.rnd.IntN(20), Sticky: true}, &faultstore.Fault{Chance: 0.2, Effect: faultstore.LostReply})
	}},
	{"sound", 3, func(m *uploadModel) { m.a.faults.Set() }},
	{"restart", 1, (*uploadModel).restart},
	{"attach", 1, (*uploadModel).attach},
	{"stale", 2, (*uploadModel).staleWorks},
}

func (m *uploadModel) somewhere(u *uploader) page.LSN {
	return readFirst + page.LSN(m.rnd.Int64N(int64(u.past.last-readFirst)/8+1))*8
}

func (m *uploadModel) restart() {
	durable := m.a.tl.DiskConsistentLSN()
	m.a.kill()
	m.a.past.cut(durable)
	m.a.generation = m.acquire()
	m.pasts[m.a.generation] = m.a.past
	require.NoError(m.t, m.a.start())
	m.a.same(durable)
}

// attach makes a new writer of the remote alone. The old one goes on, and does not know. One that has never come to upload an index has
// reported nothing, and what is gone on with is what there was before it.
func (m *uploadModel) attach() {
	m.endOld()
	m.old = m.a
	reported := m.old.tl.RemoteConsistentLSN()
	m.a = newUploader(m.t, m.store, m.acquire(), &past{})
	if m.a.from != 0 {
		m.a.past = m.pasts[m.a.from].clone()
	}
	m.pasts[m.a.generation] = m.a.past
	m.taken = m.a.tl.DiskConsistentLSN()
	require.GreaterOrEqual(m.t, m.taken, reported)
	m.a.past.cut(m.taken)
	m.a.sameAll(m.taken)
}

func (m *uploadModel) staleWorks() {
	if m.old == nil {
		m.done["stale"]--
		return
	}
	m.excused(m.old.work())
	m.excused(m.old.trySame(m.somewhere(m.old)))
	require.LessOrEqual(m.t, m.old.tl.RemoteConsistentLSN(), m.taken)
}

func (m *uploadModel) endOld() {
	if m.old != nil {
		m.old.kill()
		m.old = nil
	}
}

func (m *uploadModel) run(steps int) {
	var lot []int
	for i, op := range uploadOps {
		lot = append(lot, slices.Repeat([]int{i}, op.weight)...)
	}
	for range steps {
		op := &uploadOps[lot[m.rnd.IntN(len(lot))]]
		m.done[op.name]++
		op.do(m)
	}
	m.endOld()
	a := m.a
	a.faults.Set()
	a.settle()
	a.past.cut(a.tl.DiskConsistentLSN())
	a.sameAll(a.past.last)
	a.close()
	// What stale ones left goes with the next start.
	a.generation = m.acquire()
	require.NoError(m.t, a.start())
	a.settle()
	requireNoLeak(m.t, m.store, a.generation)
	a.close()
}

// TestReplacedMeanwhile: a disk whose timeline another writer has had since is not to be gone on with, whatever generation it gets.
func TestReplacedMeanwhile(t *testing.T) {
	store, p := memstore.New(), &past{}
	a := newUploader(t, store, 1, p)
	require.NoError(t, a.work())
	a.settle()
	a.close()
	b := newUploader(t, store, 2, p.clone())
	require.NoError(t, b.work())
	b.settle()
	b.close()
	before := objects(t, store)
	a.generation = 3
	for range 2 { // the second start must not have forgotten
		require.NoError(t, a.start())
		require.ErrorIs(t, a.tl.WaitUploads(t.Context()), upload.ErrStale)
		require.Equal(t, before, objects(t, store))
		a.close()
	}
}

// TestGenerationFile: what was not written so is refused.
func TestGenerationFile(t *testing.T) {
	b := encodeGeneration(77)
	require.Equal(t, "generation 77 crc32c", string(b[:20]))
	g, err := decodeGeneration(b)
	require.NoError(t, err)
	require.Equal(t, uint32(77), g)
	for i := range b {
		c := slices.Clone(b)
		c[i] ^= 1
		_, err := decodeGeneration(c)
		require.ErrorIs(t, err, ErrCorrupt)
		_, err = decodeGeneration(b[:i])
		require.ErrorIs(t, err, ErrCorrupt)
	}
}
