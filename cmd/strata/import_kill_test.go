package main

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
)

// digestOf is that of all values that the timeline main of a store has at its end.
func digestOf(t *testing.T, dir, url string) uint64 {
	t.Helper()
	e, err := strata.Open(t.Context(), strata.Options{Dir: dir, ReadOnly: url == "", Remote: strata.RemoteOptions{URL: url, Open: openRemote}})
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	tn, err := e.DefaultTenant(t.Context())
	require.NoError(t, err)
	tl, err := tn.Timeline(t.Context(), "main")
	require.NoError(t, err)
	h := xxhash.New()
	var number [8]byte
	err = tl.GetVectored(t.Context(), page.NewSet(page.FullRange), tl.LastRecordLSN(), func(k page.Key, v []byte, err error) error {
		_, _ = h.WriteString(k.String())
		binary.BigEndian.PutUint64(number[:], uint64(len(v)))
		_, _ = h.Write(number[:])
		_, _ = h.Write(v)
		return err
	})
	require.NoError(t, err)
	binary.BigEndian.PutUint64(number[:], uint64(tl.LastRecordLSN()))
	_, _ = h.Write(number[:])
	return h.Sum64()
}

// asChild runs a command line in a process of its own.
func asChild(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.Command(os.Args[0], args...)
	c.Env = append(os.Environ(), childVariable+"=1")
	require.NoError(t, c.Start())
	return c
}

// killedImport is an import whose process is killed at random moments, and whose tenant moves between stores.
type killedImport struct {
	*testing.T
	rnd        *rand.Rand
	url, store string
	args       []string // the source
	tenant     page.TenantID
	moved      int
}

func (k *killedImport) command() []string {
	return append([]string{"import", "--resume", "--job-pages", "200", "--store", k.store, "--remote", k.url}, k.args...)
}

// killAfter begins, or goes on, and kills the process after a time; it reports whether the import was finished before.
func (k *killedImport) killAfter(d time.Duration) bool {
	c := asChild(k.T, k.command()...)
	timer := time.AfterFunc(d, func() { _ = c.Process.Kill() })
	err := c.Wait()
	timer.Stop()
	return err == nil || k.finished()
}

// finished reports whether all was there when the process was killed, as between the last step and its end.
func (k *killedImport) finished() bool {
	s := k.statuses()
	return len(s) > 0 && s[0].State != strata.StateImporting
}

// statuses are those of the tenant's timelines, none before there is a store or anything was done.
func (k *killedImport) statuses() []strata.TimelineStatus {
	e, err := strata.Open(k.Context(), strata.Options{Dir: k.store, Remote: strata.RemoteOptions{URL: k.url, Open: openRemote}})
	if err != nil {
		return nil
	}
	tn, err := e.DefaultTenant(k.Context())
	require.NoError(k, err)
	k.tenant = tn.ID()
	out := tn.Statuses()
	require.NoError(k, e.Close())
	return out
}

// move detaches the tenant and attaches it in another store.
func (k *killedImport) move() {
	if len(k.statuses()) == 0 {
		return
	}
	must(k.T, "detach", "--store", k.store, "--remote", k.url)
	k.store = filepath.Join(k.TempDir(), "next")
	must(k.T, "attach", "--store", k.store, "--tenant", k.tenant.String(), "--remote", k.url)
	k.moved++
}

// TestImportKilled kills processes that import, with SIGKILL at random moments, and between some of them has the tenant move to
// another store: those that follow go on, and the end is that of an import to which nothing happens.
func TestImportKilled(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	cluster := sampleCluster(t)
	file := tarOf(t, cluster)
	undisturbed := filepath.Join(t.TempDir(), "store")
	begin := time.Now()
	require.NoError(t, asChild(t, "import", "--pgdata", cluster, "--store", undisturbed, "--job-pages", "200").Wait())
	full := time.Since(begin)
	want := digestOf(t, undisturbed, "")
	rnd := testkit.Rand(t, 11)
	for round := range testkit.Size(1, 2, 60) {
		k := &killedImport{T: t, rnd: rnd, url: "file://" + filepath.Join(t.TempDir(), "remote"), store: filepath.Join(t.TempDir(), "store"),
			args: [][]string{{"--pgdata", cluster}, {"--tar", file}}[round%2]}
		kills, done := 0, false
		for range testkit.Size(1, 4, 12) {
			if done = k.killAfter(time.Duration(rnd.Int64N(int64(full) * 2 / 3))); done {
				break
			}
			kills++
			if rnd.IntN(2) == 0 {
				k.move()
			}
		}
		if !done {
			must(t, k.command()...)
		}
		require.Equal(t, want, digestOf(t, k.store, k.url), "killed %d times, moved %d times", kills, k.moved)
		t.Logf("killed %d times, moved %d times", kills, k.moved)
	}
	require.Contains(t, must(t, "verify", "cluster", "--store", undisturbed, "--pgdata", cluster), " different=0 ")
}
