package tenant

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/internal/upload/index"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/memstore"
	"github.com/stratapg/strata/virtualfile"
)

// movingImport is an import of a tenant that moves from disk to disk.
type movingImport struct {
	*testing.T
	c     *fakeCluster
	id    page.TimelineID
	store *memstore.Store
	spool []byte
}

// open plans, and puts a file beside the layers unless it is there.
func (m *movingImport) open(ctx context.Context, dir ImportDir) (*ImportPlan, error) {
	path := filepath.Join(dir.Path, "IMPORT.0.tar")
	b, err := virtualfile.ReadFile(dir.FS, path, 1<<20)
	if err == nil && !bytes.Equal(b, m.spool) {
		return nil, errors.New("the file beside the layers is another one")
	}
	if err != nil {
		if m.spool != nil {
			return nil, errors.New("the file beside the layers is lost")
		}
		m.spool = bytes.Repeat([]byte("received"), 1000)
		if err := virtualfile.WriteFileAtomic(dir.FS, path, m.spool); err != nil {
			return nil, err
		}
	}
	return m.c.open(ctx, dir)
}

func (m *movingImport) options(fs virtualfile.FS) Options {
	o := lifeOptions(fs, m.store)
	hasten(&o)
	return o
}

// elsewhere opens a store on an empty disk, with or without its tenant.
func (m *movingImport) elsewhere() (*Store, *Tenant) {
	s, err := Open(m.Context(), m.options(virtualfile.NewMem()))
	require.NoError(m, err)
	tn, _, err := s.Attach(m.Context(), AttachOptions{Tenant: remoteTenant})
	require.NoError(m, err)
	return s, tn
}

// at has the import reach a job and stay there until it is ended; there is what happens then.
func (m *movingImport) at(tn *Tenant, job int, o ImportOptions, there func()) {
	reached, ended := make(chan struct{}), make(chan error, 1)
	m.c.before = func(ctx context.Context, j, n int) error {
		if j != job || n != 3 {
			return nil
		}
		close(reached)
		<-ctx.Done()
		return ctx.Err()
	}
	go func() {
		_, _, err := tn.Import(context.Background(), "imported", m.id, o, m.open)
		ended <- err
	}()
	select {
	case <-reached:
	case err := <-ended:
		require.NoError(m, err)
	}
	there()
	require.ErrorIs(m, <-ended, context.Canceled)
	m.c.before, m.c.ran = nil, map[int]int{}
}

func (m *movingImport) index() *index.Part {
	part, _, err := upload.Load(m.Context(), m.store, upload.Place{Tenant: remoteTenant, Timeline: m.id}, 1000)
	require.NoError(m, err)
	return part
}

// told is of how many jobs the index says that they are done; 0 if there is none yet.
func (m *movingImport) told() int {
	part, _, err := upload.Load(m.Context(), m.store, upload.Place{Tenant: remoteTenant, Timeline: m.id}, 1000)
	if errors.Is(err, remote.ErrNotFound) {
		return 0
	}
	require.NoError(m, err)
	return len(part.Origin.Import.Done)
}

// TestImportSurvivesADetach: an import whose tenant, or whose timeline, is detached while it is at work or afterwards, or whose disk is lost,
// is gone on with where it is attached: what remote storage was told of is not done again, a file that was received is not received
// again, and in the end all is as if nothing had happened. Meanwhile nobody can read it.
func TestImportSurvivesADetach(t *testing.T) {
	for name, x := range map[string]struct {
		records int
		leave   func(m *movingImport, s *Store, tn *Tenant, o ImportOptions)
		again   []int // jobs that are done elsewhere
	}{
		"tenant, at work": {0, func(m *movingImport, s *Store, tn *Tenant, o ImportOptions) {
			m.at(tn, 3, o, func() { require.NoError(m, s.DetachTenant(m.Context(), tn.ShardID(), DetachOptions{})) })
			_, err := s.Tenant(remoteTenant)
			require.ErrorIs(m, err, ErrTenantNotFound)
		}, []int{3, 4, 5}},
		"tenant, interrupted before": {20, func(m *movingImport, s *Store, tn *Tenant, o ImportOptions) {
			m.at(tn, 4, o, func() { require.NoError(m, tn.callOff(m.Context(), tn.mu.slots[m.id])) })
			require.NoError(m, s.DetachTenant(m.Context(), tn.ShardID(), DetachOptions{}))
		}, []int{4, 5}},
		"tenant, while WAL is taken in": {20, func(m *movingImport, s *Store, tn *Tenant, o ImportOptions) {
			m.at(tn, -1, o, func() { require.NoError(m, s.DetachTenant(m.Context(), tn.ShardID(), DetachOptions{})) })
		}, nil},
		"timeline, at work": {20, func(m *movingImport, s *Store, tn *Tenant, o ImportOptions) {
			m.at(tn, 2, o, func() { require.NoError(m, tn.Detach(m.Context(), "imported", DetachOptions{})) })
			require.Equal(m, Detached, states(tn)["imported"])
			require.NoError(m, tn.Detach(m.Context(), "imported", DetachOptions{}))
			_, _, err := s.Attach(m.Context(), AttachOptions{Tenant: remoteTenant, Timelines: []page.TimelineID{m.id}})
			require.NoError(m, err)
			require.Equal(m, Importing, states(tn)["imported"])
			require.NoError(m, tn.Detach(m.Context(), "imported", DetachOptions{}))
		}, []int{2, 3, 4, 5}},
		"disk lost": {0, func(m *movingImport, s *Store, tn *Tenant, o ImportOptions) {
			o.Checkpoint = 2
			m.at(tn, 4, o, func() {
				require.Eventually(m, func() bool { return m.told() == 4 }, time.Minute, time.Millisecond, "remote storage knows of four jobs")
				require.Len(m, objectsOf(m, m.store, m.id), 5, "four layers and an index")
				require.NoError(m, tn.callOff(m.Context(), tn.mu.slots[m.id]))
			})
		}, []int{4, 5}},
	} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			m := &movingImport{T: t, c: newFakeCluster(6, 50, x.records), id: page.TimelineID{0x1d}, store: memstore.New()}
			want := importedSum(t, 6, 50, x.records)
			s, tn := openLife(t, t.Context(), m.options(virtualfile.NewMem()))
			serial := fastImport
			serial.Jobs = 1
			x.leave(m, s, tn, serial)
			require.NoError(t, s.Close())
			require.True(t, m.index().Importing())

			s, tn = m.elsewhere()
			st, err := tn.Status("imported")
			require.NoError(t, err)
			require.Equal(t, Importing, st.State)
			require.Equal(t, 6-len(x.again), st.Import.JobsDone)
			_, err = tn.Timeline("imported")
			require.ErrorIs(t, err, ErrNotActive)
			m.c.digest = "second"
			if name == "disk lost" {
				m.spool = nil
			}
			_, _, err = tn.Import(t.Context(), "imported", m.id, serial, m.open)
			require.ErrorIs(t, err, ErrImportChanged)
			m.c.digest = "first"
			require.NoError(t, s.Close())

			s, tn = openLife(t, t.Context(), m.options(virtualfile.NewMem())) // its default tenant is a new one, of an empty disk
			require.NoError(t, s.DetachTenant(t.Context(), tn.ShardID(), DetachOptions{}))
			tn, _, err = s.Attach(t.Context(), AttachOptions{Tenant: remoteTenant})
			require.NoError(t, err)
			if name == "disk lost" {
				m.spool = nil // nobody had the time to bring it away: it is received again
			}
			m.c.ran = map[int]int{}
			tl, done, err := tn.Import(t.Context(), "imported", m.id, serial, m.open)
			require.NoError(t, err)
			ran := map[int]int{}
			for _, n := range x.again {
				ran[n] = 1
			}
			require.Equal(t, ran, m.c.ran, "what was done is not done again")
			require.EqualValues(t, 6*50, done.Pages)
			require.EqualValues(t, 6, done.Relations)
			require.Equal(t, want, sum(t, tl))
			require.NoError(t, tl.WaitUploads(t.Context()))
			require.False(t, m.index().Importing())
			require.Contains(t, string(m.index().Rest["import_pgdata"]), "Done")
			require.NoError(t, s.env.Deletions().Flush(t.Context()))
			requireNoneLeft(t, s, tl, m.store)
			require.NoError(t, s.Close())

			s, tn = m.elsewhere()
			tl, err = tn.Timeline("imported")
			require.NoError(t, err)
			require.Equal(t, want, sum(t, tl))
			require.NoError(t, s.Close())
		})
	}
}

// TestImportGivenUpElsewhere: an import that was attached can be deleted, or begun anew, and nothing of it stays; who has it no more
// takes nothing from who has it now.
func TestImportGivenUpElsewhere(t *testing.T) {
	noLeaks(t)
	for _, anew := range []bool{false, true} {
		m := &movingImport{T: t, c: newFakeCluster(4, 10, 0), id: page.TimelineID{0x1f}, store: memstore.New()}
		disk := virtualfile.NewMem()
		s, tn := openLife(t, t.Context(), m.options(disk))
		serial := fastImport
		serial.Jobs, serial.Checkpoint = 1, 1
		m.at(tn, 2, serial, func() {
			require.NoError(t, tn.keepImport(t.Context(), tn.mu.slots[m.id]))
		})
		require.NoError(t, s.Close())
		require.Len(t, objectsOf(t, m.store, m.id), 4, "two layers, a file and an index")

		there, now := m.elsewhere()
		s, tn = openLife(t, t.Context(), m.options(disk)) // of a generation that is not the last any more
		require.Equal(t, Importing, states(tn)["imported"])
		serial.Resume = false
		_, _, err := tn.Import(t.Context(), "imported", m.id, serial, m.open)
		require.ErrorIs(t, err, timeline.ErrStale)
		require.ErrorIs(t, tn.Delete(t.Context(), "imported"), timeline.ErrStale)
		require.GreaterOrEqual(t, len(objectsOf(t, m.store, m.id)), 4)
		require.NoError(t, s.Close())

		if anew {
			m.spool = nil
			m.c.digest, m.c.ran = "another", map[int]int{}
			tl, _, err := now.Import(t.Context(), "imported", m.id, serial, m.open)
			require.NoError(t, err)
			require.Equal(t, map[int]int{0: 1, 1: 1, 2: 1, 3: 1}, m.c.ran)
			require.NoError(t, tl.WaitUploads(t.Context()))
			require.NoError(t, there.env.Deletions().Flush(t.Context()))
			requireNoneLeft(t, there, tl, m.store)
		} else {
			require.NoError(t, now.Delete(t.Context(), "imported"))
			require.Empty(t, objectsOf(t, m.store, m.id))
			require.Empty(t, now.Statuses())
		}
		require.NoError(t, there.Close())
	}
}

// TestImportsOfNeon: a timeline that Neon is importing is not opened with what is there of it; one that it has imported is.
func TestImportsOfNeon(t *testing.T) {
	noLeaks(t)
	m := &movingImport{T: t, c: newFakeCluster(2, 10, 0), id: page.TimelineID{0x20}, store: memstore.New()}
	s, tn := openLife(t, t.Context(), m.options(virtualfile.NewMem()))
	tl, _, err := tn.Import(t.Context(), "imported", m.id, fastImport, m.open)
	require.NoError(t, err)
	require.NoError(t, tl.WaitUploads(t.Context()))
	require.NoError(t, s.Close())
	mark := func(text string) {
		part := m.index()
		part.Rest["import_pgdata"] = json.RawMessage(text)
		b, err := part.Encode()
		require.NoError(t, err)
		key := upload.Place{Tenant: remoteTenant, Timeline: m.id}.IndexKey(500)
		_, err = m.store.Put(t.Context(), key, bytes.NewReader(b), int64(len(b)), remote.PutOptions{})
		require.NoError(t, err)
	}
	const run = `"idempotency_key":"k","started_at":"2026-01-02T03:04:05"`
	for _, x := range []struct {
		text      string
		importing bool
	}{
		{`{"V1":{"InProgress":{` + run + `,"location":{"AwsS3":{"region":"r","bucket":"b","key":"k"}}}}}`, true},
		{`{"V2":{}}`, true},
		// The last: who opens the timeline may write an index of a later generation, which hides what is marked afterwards.
		{`{"V1":{"Done":{` + run + `,"finished_at":"2026-01-02T03:04:05"}}}`, false},
	} {
		mark(x.text)
		s, err := Open(t.Context(), m.options(virtualfile.NewMem()))
		require.NoError(t, err)
		tn, _, err := s.Attach(t.Context(), AttachOptions{Tenant: remoteTenant})
		require.NoError(t, err)
		_, err = tn.Timeline(m.id.String())
		if !x.importing {
			require.NoError(t, err)
			require.NoError(t, s.Close())
			continue
		}
		require.ErrorIs(t, err, ErrNotActive)
		_, _, err = s.Attach(t.Context(), AttachOptions{Tenant: remoteTenant, Timelines: []page.TimelineID{m.id}})
		require.ErrorIs(t, err, ErrNotActive)
		require.ErrorContains(t, err, "Neon")
		require.NoError(t, s.Close())
	}
}

// TestImportIndex: an index says of an import what its file says; one that contradicts itself is refused.
func TestImportIndex(t *testing.T) {
	d := layer.Desc{Keys: page.FullRange, LSNs: page.LSNRange{Start: firstLSN, End: firstLSN + 1}, Image: true, Size: 8192, Generation: 3, Checked: true}
	f := &importFile{id: page.TimelineID{1}, name: "x", begun: time.Unix(1_800_000_000, 0).UTC(), digest: "d", jobs: 7, indexed: true,
		done: map[int]ImportedJob{2: {Relations: 4, Pages: 5, Suspect: []page.Key{page.DBDirKey}, layers: []layer.Desc{d}}, 5: {}},
		away: map[string]uint64{d.FileName(): 1 << 63}, files: []index.ImportFile{{Name: "IMPORT.0.tar", Size: 1, Sum: 2}}}
	part, err := f.index("")
	require.NoError(t, err)
	b, err := part.Encode()
	require.NoError(t, err)
	read := func(text string) (*importFile, error) {
		part, err := index.Parse([]byte(text))
		require.NoError(t, err)
		return importFileOf(f.id, f.name, part)
	}
	got, err := read(string(b))
	require.NoError(t, err)
	require.Equal(t, f, got)
	for from, to := range map[string]string{
		`"job":5`:                    `"job":7`,
		`"job":2`:                    `"job":-2`,
		`"jobs":7`:                   `"jobs":-7`,
		`"IMPORT.0.tar"`:             `"IMPORT./../x"`,
		`"xxh64":"8000000000000000"`: `"xxh64":"0000000000000000"`,
		`"layers":["000`:             `"layers":["001`,
	} {
		require.Equal(t, 1, strings.Count(string(b), from), from)
		_, err := read(strings.Replace(string(b), from, to, 1))
		require.ErrorIs(t, err, ErrCorruptStoreFile, from)
	}
}
