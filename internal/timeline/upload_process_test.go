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
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/faultstore"
	"github.com/stratapg/strata/virtualfile"
)

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
