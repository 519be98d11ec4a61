package e2e

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/internal/sample"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
)

// The child's environment, and what it prints: the line "ready" once the store is open, then each durable
// LSN on a line of its own.
const (
	childStore = "STRATA_E2E_STORE"
	childWAL   = "STRATA_E2E_WAL"
	readyLine  = "ready"
	// childTimeout bounds a child that nobody kills.
	childTimeout = 5 * time.Minute
)

// ingestAsChild ingests with a checkpoint distance of 1 MiB and prints each durable LSN as soon as it is.
func ingestAsChild() error {
	ctx := context.Background()
	var tl atomic.Pointer[strata.Timeline]
	e, err := strata.Open(ctx, strata.Options{Dir: os.Getenv(childStore), CheckpointDistance: mib, Events: strata.Events{
		FlushEnd: func(strata.FlushInfo) {
			if tl := tl.Load(); tl != nil {
				fmt.Println(tl.DiskConsistentLSN())
			}
		},
	}})
	if err != nil {
		return err
	}
	tenant, err := e.DefaultTenant(ctx)
	if err != nil {
		return err
	}
	main, err := tenant.Timeline(ctx, timelineName)
	if err != nil {
		return err
	}
	tl.Store(main)
	fmt.Println(readyLine)
	if _, err := main.Ingest(ctx, strata.IngestOptions{Dir: os.Getenv(childWAL)}); err != nil {
		return err
	}
	return e.Close()
}

// child is a running child.
type child struct {
	cmd     *exec.Cmd
	lines   *bufio.Scanner
	started time.Time     // when it was ready
	first   time.Duration // from then to its first durable LSN
}

func startChild(t *testing.T, store, wal string) *child {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), childTimeout)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childTask+"=ingest", childStore+"="+store, childWAL+"="+wal)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	c := &child{cmd: cmd, lines: bufio.NewScanner(out)}
	require.True(t, c.lines.Scan(), "the child ended before it had opened the store")
	require.Equal(t, readyLine, c.lines.Text())
	c.started = time.Now()
	return c
}

// rest reads what the child prints until it ends, and gives the last LSN, 0 if none.
func (c *child) rest(t *testing.T) page.LSN {
	t.Helper()
	var last page.LSN
	for c.lines.Scan() {
		if last == page.InvalidLSN {
			c.first = time.Since(c.started)
		}
		lsn, err := page.ParseLSN(c.lines.Text())
		require.NoError(t, err)
		require.GreaterOrEqual(t, lsn, last, "durable LSNs go up")
		last = lsn
	}
	require.NoError(t, c.lines.Err())
	return last
}

// crashes is one run of TestCrash.
type crashes struct {
	imported  string // a store after its import
	wal       string
	reference *strata.Timeline // everything ingested, without a crash
	start     page.LSN
	end       *sample.Pages // PostgreSQL's pages at the end of the WAL
	// first and full are how long a child that nobody kills takes to its first durable LSN and to its end.
	first, full time.Duration
	rnd         *rand.Rand
}

// TestCrash kills a child that ingests, with SIGKILL at random moments. Nothing that it called durable may
// be lost, the store must read as it was there, and ingest must go on to the same end.
func TestCrash(t *testing.T) {
	kills := testkit.Size(4, 24, 200)
	c := prepareCrashes(t)
	above := 0
	for range kills {
		if c.crash(t) > c.start {
			above++
		}
	}
	t.Logf("%d kills, %d of them with something durable since the import; a whole run takes %s, %s to the first", kills, above, c.full, c.first)
	// By the way the moments are chosen nearly all should be; a few may be not on a busy machine.
	const percent = 80
	if kills < percent/4 {
		return
	}
	require.GreaterOrEqual(t, above*100, kills*percent, "kills with something durable since the import")
}

func prepareCrashes(t *testing.T) *crashes {
	t.Helper()
	dir := t.TempDir()
	s, err := sample.Open(filepath.Join(testkit.RepoRoot(t), "testdata", "sample"))
	require.NoError(t, err)
	cluster, wal := filepath.Join(dir, "cluster"), filepath.Join(dir, "wal")
	require.NoError(t, s.ExtractCluster(cluster))
	require.NoError(t, s.ExtractWAL(wal))
	c := &crashes{imported: filepath.Join(dir, "imported"), wal: wal, rnd: testkit.Rand(t, 0)}

	e, err := strata.Open(t.Context(), strata.Options{Dir: c.imported, CreateIfMissing: true})
	require.NoError(t, err)
	tenant, err := e.DefaultTenant(t.Context())
	require.NoError(t, err)
	tl, _, err := tenant.Import(t.Context(), strata.ImportOptions{PGData: cluster, Name: timelineName})
	require.NoError(t, err)
	c.start = tl.DiskConsistentLSN()
	require.NoError(t, e.Close())

	c.reference = importAndIngest(t, filepath.Join(dir, "reference"), cluster, wal, 64*mib)
	lsns := s.LSNs()
	c.end, err = s.Pages(lsns[len(lsns)-1])
	require.NoError(t, err)

	whole := filepath.Join(dir, "whole")
	testkit.CopyTree(t, whole, c.imported)
	child := startChild(t, whole, wal)
	require.Greater(t, child.rest(t), c.start, "a whole run makes something durable before its end")
	require.NoError(t, child.cmd.Wait())
	c.first, c.full = child.first, time.Since(child.started)
	return c
}

// crash kills one child and checks what it left. It gives the LSN that was durable.
func (c *crashes) crash(t *testing.T) page.LSN {
	t.Helper()
	store := filepath.Join(t.TempDir(), "store")
	testkit.CopyTree(t, store, c.imported)
	child := startChild(t, store, c.wal)
	// Mostly after something became durable: before that there is little to lose.
	from := c.first * 4 / 5
	wait := from + time.Duration(c.rnd.Float64()*float64(c.full-from))
	kill := time.AfterFunc(wait, func() { _ = child.cmd.Process.Kill() })
	defer kill.Stop()
	printed := child.rest(t)
	err := child.cmd.Wait()
	require.True(t, err == nil || strings.Contains(err.Error(), "killed"), "the child: %v", err)

	e, err := strata.Open(t.Context(), strata.Options{Dir: store, CheckpointDistance: mib})
	require.NoError(t, err)
	defer e.Close()
	tenant, err := e.DefaultTenant(t.Context())
	require.NoError(t, err)
	tl, err := tenant.Timeline(t.Context(), timelineName)
	require.NoError(t, err)
	durable := tl.DiskConsistentLSN()
	require.GreaterOrEqual(t, durable, max(printed, c.start), "what was durable before the kill after %s", wait)
	require.Equal(t, durable, tl.LastRecordLSN())
	c.requireSame(t, tl, durable)

	_, err = tl.Ingest(t.Context(), strata.IngestOptions{Dir: c.wal})
	require.NoError(t, err)
	require.Equal(t, c.end.LSN, tl.LastRecordLSN())
	r, err := sample.Check(t.Context(), tl, sample.Version, c.end)
	require.NoError(t, err)
	require.Zero(t, r.Different, "at the end: %v", r.First)
	return durable
}

// requireSame demands that every page at lsn is the reference's.
func (c *crashes) requireSame(t *testing.T, tl *strata.Timeline, lsn page.LSN) {
	t.Helper()
	want, err := sample.Collect(t.Context(), c.reference, sample.Version, lsn)
	require.NoError(t, err)
	require.Empty(t, want.Failed)
	got, err := sample.Collect(t.Context(), tl, sample.Version, lsn)
	require.NoError(t, err)
	require.Empty(t, got.Failed)
	r := sample.Compare(got.Pages, want.Pages)
	require.Zero(t, r.Different, "at %s, before ingesting on: %v", lsn, r.First)
}
