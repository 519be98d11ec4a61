package tenant

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/fnv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// importAll imports what fill puts, in one job.
func importAll(ctx context.Context, tn *Tenant, m manifest.Meta, prev page.LSN, layerSize int64, c layer.Compression, fill func(ctx context.Context, sink *timeline.ImageSink) error) (*timeline.Timeline, error) {
	tl, _, err := tn.Import(ctx, m.Name, m.Timeline, ImportOptions{LayerSize: layerSize, Compression: c}, func(context.Context, ImportDir) (*ImportPlan, error) {
		return &ImportPlan{
			Meta: m, Prev: prev, Digest: "d", Jobs: []ImportJob{{Keys: page.FullRange, Pages: 1, Bytes: 1}},
			Run: func(ctx context.Context, _ int, sink *timeline.ImageSink, _ func(pages, bytes int64)) (ImportedJob, error) {
				return ImportedJob{}, fill(ctx, sink)
			},
			Check:   func(context.Context) error { return nil },
			Lasting: func(error) bool { return true },
		}, nil
	})
	return tl, err
}

// fakeCluster is what an import test imports: jobs of some keys each and, for a base backup, records behind them.
type fakeCluster struct {
	jobs, keys, records int
	digest              string
	// before, if set, is called before a job's n-th value, and Recover's with job -1; an error of it fails the job.
	before func(ctx context.Context, job, n int) error

	mu  sync.Mutex
	ran map[int]int // how often each job was begun
}

func newFakeCluster(jobs, keys, records int) *fakeCluster {
	return &fakeCluster{jobs: jobs, keys: keys, records: records, digest: "first", ran: map[int]int{}}
}

func (c *fakeCluster) key(job, n int) page.Key {
	return page.RelTag{Spc: 1663, DB: 5, Rel: uint32(100 + job)}.Block(uint32(n))
}

func (c *fakeCluster) image(job, n int) []byte {
	b := make([]byte, 200+n%7)
	binary.BigEndian.PutUint64(b[n%100:], uint64(job*1000003+n*7919))
	return b
}

func (c *fakeCluster) end() page.LSN { return firstLSN + page.LSN(8*c.records) }

func (c *fakeCluster) hook(ctx context.Context, job, n int) error {
	if c.before == nil {
		return nil
	}
	return c.before(ctx, job, n)
}

func (c *fakeCluster) open(context.Context, ImportDir) (*ImportPlan, error) {
	p := &ImportPlan{Meta: meta(""), Digest: c.digest, Check: func(context.Context) error { return nil }}
	for j := range c.jobs {
		r := page.Range{Start: c.key(j, 0), End: c.key(j+1, 0)}
		if j == 0 {
			r.Start = page.MinKey
		}
		if j == c.jobs-1 {
			r.End = page.MaxKey
		}
		p.Jobs = append(p.Jobs, ImportJob{Keys: r, Pages: int64(c.keys), Bytes: int64(c.keys) * 200})
	}
	p.Run = func(ctx context.Context, job int, sink *timeline.ImageSink, took func(pages, bytes int64)) (ImportedJob, error) {
		c.mu.Lock()
		c.ran[job]++
		c.mu.Unlock()
		for n := range c.keys {
			if err := c.hook(ctx, job, n); err != nil {
				return ImportedJob{}, err
			}
			if err := sink.PutImage(ctx, c.key(job, n), c.image(job, n)); err != nil {
				return ImportedJob{}, err
			}
			took(1, 200)
		}
		return ImportedJob{Relations: 1, Pages: int64(c.keys), Suspect: []page.Key{c.key(job, 0)}}, nil
	}
	if c.records > 0 {
		p.Recover = c.recover
	}
	return p, nil
}

var errSuspects = errors.New("the jobs' suspects are not what was noted")

func (c *fakeCluster) recover(ctx context.Context, tl *timeline.Timeline, suspect []page.Key) (page.LSN, error) {
	if len(suspect) != c.jobs {
		return 0, errSuspects
	}
	for n := range c.records {
		if err := c.hook(ctx, -1, n); err != nil {
			return 0, err
		}
		var b page.Batch
		lsn := firstLSN + page.LSN(8*(n+1))
		b.PutImage(c.key(n%c.jobs, n%c.keys), lsn, fmt.Appendf(nil, "record %d", n))
		b.PutImage(c.key(0, c.keys+n), lsn, make([]byte, 500))
		if err := tl.Put(ctx, &b); err != nil {
			return 0, err
		}
	}
	return c.end(), nil
}

// sum is the digest of everything that a timeline has at its end.
func sum(t require.TestingT, tl *timeline.Timeline) uint64 {
	var h hash.Hash64 = fnv.New64a()
	err := tl.GetVectored(context.Background(), page.NewSet(page.FullRange), tl.LastRecordLSN(), func(k page.Key, v []byte, err error) error {
		fmt.Fprintf(h, "%s %d ", k, len(v))
		h.Write(v)
		return err
	})
	require.NoError(t, err)
	fmt.Fprint(h, tl.LastRecordLSN(), tl.Meta().InitialLSN)
	return h.Sum64()
}

var fastImport = ImportOptions{LayerSize: 1 << 20, Compression: layer.Compression{Disabled: true}, Pause: time.Nanosecond, Resume: true}

func (c *fakeCluster) importInto(ctx context.Context, tn *Tenant, o ImportOptions) (*timeline.Timeline, ImportedJob, error) {
	return tn.Import(ctx, "imported", page.TimelineID{}, o, c.open)
}

// undisturbed is the digest of an import to which nothing happens.
func (c *fakeCluster) undisturbed(t require.TestingT) uint64 {
	quiet := newFakeCluster(c.jobs, c.keys, c.records)
	s, err := Open(context.Background(), testOptions(virtualfile.NewMem()))
	require.NoError(t, err)
	tn, err := s.DefaultTenant()
	require.NoError(t, err)
	tl, _, err := quiet.importInto(context.Background(), tn, fastImport)
	require.NoError(t, err)
	v := sum(t, tl)
	require.NoError(t, s.Close())
	return v
}

// TestImportGoesOn: a process that dies, or a store that is closed, leaves the jobs that were done; the import goes on with
// the others, and with the same plan alone. Until the end there is no timeline.
func TestImportGoesOn(t *testing.T) {
	for _, records := range []int{0, 40} {
		for _, how := range []string{"crash", "close"} {
			t.Run(fmt.Sprintf("%s, %d records", how, records), func(t *testing.T) {
				noLeaks(t)
				ctx := t.Context()
				mem := virtualfile.NewMem()
				c := newFakeCluster(6, 50, records)
				want := c.undisturbed(t)
				s, tn := openLife(t, ctx, testOptions(mem))
				var crashed *virtualfile.MemFS
				reached := make(chan struct{})
				c.before = func(ctx context.Context, job, n int) error {
					if job == 4 && n == 10 {
						_, err := tn.Timeline("imported")
						require.ErrorIs(t, err, ErrNotActive)
						st, err := tn.Status("imported")
						require.NoError(t, err)
						require.Equal(t, 6, st.Import.Jobs)
						require.Equal(t, 4, st.Import.JobsDone)
						require.EqualValues(t, 4*50+10, st.Import.PagesDone)
						crashed = mem.CrashClone(1)
						close(reached)
						<-ctx.Done()
						return ctx.Err()
					}
					return nil
				}
				ended := make(chan error, 1)
				go func() {
					one := fastImport
					one.Jobs = 1
					_, _, err := c.importInto(context.Background(), tn, one)
					ended <- err
				}()
				<-reached
				require.NoError(t, s.Close())
				require.ErrorIs(t, <-ended, context.Canceled)
				if how == "crash" {
					mem = crashed
				}
				c.before, c.ran = nil, map[int]int{}

				s, tn = openLife(t, ctx, testOptions(mem))
				require.Equal(t, Importing, states(tn)["imported"])
				_, err := tn.Timeline("imported")
				require.ErrorIs(t, err, ErrNotActive)
				require.ErrorContains(t, err, "import")
				c.digest = "second"
				_, _, err = c.importInto(ctx, tn, fastImport)
				require.ErrorIs(t, err, ErrImportChanged)
				c.digest = "first"
				_, err = tn.Create(ctx, meta("imported"))
				require.ErrorIs(t, err, ErrTimelineExists)
				tl, done, err := c.importInto(ctx, tn, fastImport)
				require.NoError(t, err)
				require.Equal(t, map[int]int{4: 1, 5: 1}, c.ran, "what was done is not done again")
				require.EqualValues(t, 6*50, done.Pages)
				require.EqualValues(t, 6, done.Relations)
				require.Equal(t, want, sum(t, tl))
				_, err = tl.Get(ctx, c.key(0, 0), firstLSN-8)
				require.ErrorIs(t, err, timeline.ErrBeforeHistory)
				if records > 0 {
					_, err = tl.Get(ctx, c.key(0, 0), c.end()-8)
					require.ErrorIs(t, err, timeline.ErrBeforeHistory)
				}
				after := mem.CrashClone(2)
				require.NoError(t, s.Close())
				s, tn = openLife(t, ctx, testOptions(after))
				tl, err = tn.Timeline("imported")
				require.NoError(t, err)
				require.Equal(t, want, sum(t, tl))
				names, err := after.List(tn.dir)
				require.NoError(t, err)
				require.Equal(t, []string{tl.ID().String()}, names)
				names, err = after.List(tn.dir + "/" + tl.ID().String())
				require.NoError(t, err)
				require.NotContains(t, names, "IMPORT")
				require.NoError(t, s.Close())
			})
		}
	}
}

// TestImportUnfinished: an unfinished import is given up by the next one that does not go on with it, and can be deleted;
// without remote storage it goes nowhere.
func TestImportUnfinished(t *testing.T) {
	noLeaks(t)
	ctx := t.Context()
	mem := virtualfile.NewMem()
	s, tn := openLife(t, ctx, testOptions(mem))
	c := newFakeCluster(4, 10, 0)
	fail := errors.New("the source is gone")
	c.before = func(_ context.Context, job, n int) error {
		if job == 2 {
			return fail
		}
		return nil
	}
	o := fastImport
	o.Jobs, o.Attempts = 1, 3
	_, _, err := c.importInto(ctx, tn, o)
	require.ErrorIs(t, err, fail)
	require.ErrorContains(t, err, "job 3 of 4")
	require.ErrorContains(t, err, "attempt 3")
	require.Equal(t, map[int]int{0: 1, 1: 1, 2: 3}, c.ran)
	st, err := tn.Status("imported")
	require.NoError(t, err)
	require.Equal(t, Importing, st.State)
	require.Contains(t, st.Reason, "gone")
	id := st.ID
	require.ErrorIs(t, tn.Detach(ctx, "imported", DetachOptions{}), ErrOnlyHere)

	o.Resume = false
	_, _, err = c.importInto(ctx, tn, o)
	require.ErrorIs(t, err, fail)
	require.Equal(t, map[int]int{0: 2, 1: 2, 2: 6}, c.ran, "all began anew")
	require.NoError(t, tn.Delete(ctx, "imported"))
	require.NotContains(t, states(tn), "imported")
	names, err := mem.List(tn.dir)
	require.NoError(t, err)
	require.Empty(t, names)

	// What fails before anything is done leaves nothing.
	_, _, err = tn.Import(ctx, "imported", id, o, func(context.Context, ImportDir) (*ImportPlan, error) { return nil, fail })
	require.ErrorIs(t, err, fail)
	require.NotContains(t, states(tn), "imported")
	names, err = mem.List(tn.dir)
	require.NoError(t, err)
	require.Empty(t, names)

	// A job that fails now and then is begun again.
	failures := 2
	c.before = func(_ context.Context, job, n int) error {
		if job == 3 && n == 5 && failures > 0 {
			failures--
			return fail
		}
		return nil
	}
	var last ImportProgress
	o.Progress = func(p ImportProgress) { last = p }
	tl, _, err := c.importInto(ctx, tn, o)
	require.NoError(t, err)
	require.Equal(t, ImportProgress{Jobs: 4, JobsDone: 4, Pages: 40, PagesDone: 40, Bytes: 8000, BytesDone: 8000, Retries: 2}, last, "attempts that failed do not count")
	require.Equal(t, c.undisturbed(t), sum(t, tl))
	require.Equal(t, ImportStats{Finished: 1, Failed: 3, JobsDone: 8, PagesDone: 80, Retries: 6}, s.Imports())
	require.NoError(t, s.Close())
}

// TestImportFile: what is written is read; what is damaged is not.
func TestImportFile(t *testing.T) {
	c := newFakeCluster(1, 1, 0)
	f := &importFile{id: page.TimelineID{1, 2}, name: `a "name"`, begun: time.Unix(1_800_000_000, 0).UTC(), digest: "abc", jobs: 7, done: map[int]ImportedJob{
		0: {Relations: 3, Pages: 4}, 5: {Suspect: []page.Key{c.key(1, 2)}, layers: []layer.Desc{{
			Keys: page.FullRange, LSNs: page.LSNRange{Start: 8, End: 9}, Image: true, Checked: true, Size: 5, Generation: 3}}}}}
	b := f.encode()
	got, err := decodeImportFile(b)
	require.NoError(t, err)
	require.Equal(t, f, got)
	for i := range b {
		bad := append([]byte(nil), b...)
		bad[i] ^= 4
		_, err := decodeImportFile(bad)
		require.ErrorIs(t, err, ErrCorruptStoreFile, "byte %d", i)
		_, err = decodeImportFile(b[:i])
		require.ErrorIs(t, err, ErrCorruptStoreFile, "cut at %d", i)
	}
	none := &importFile{begun: f.begun, name: "x", done: map[int]ImportedJob{}}
	got, err = decodeImportFile(none.encode())
	require.NoError(t, err)
	require.Equal(t, none, got)
}
