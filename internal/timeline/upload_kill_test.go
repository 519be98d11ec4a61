package timeline

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/faultstore"
	"github.com/stratapg/strata/remote/s3store"
	"github.com/stratapg/strata/virtualfile"
)

// The environment by which the test binary is a child that uploads until it is killed.
const (
	killDir      = "STRATA_KILL_DIR"
	killEndpoint = "STRATA_KILL_ENDPOINT"
	killBucket   = "STRATA_KILL_BUCKET"
	killPrefix   = "STRATA_KILL_PREFIX"
)

// TestMain finds goroutines that outlive their timeline, but for idle connections to a server; or is the child.
func TestMain(m *testing.M) {
	if os.Getenv(killDir) == "" {
		goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
		return
	}
	if err := uploadUntilKilled(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func openKillStore(ctx context.Context, endpoint, bucket, prefix string) (remote.Storage, error) {
	s, err := s3store.Open(ctx, s3store.Options{Endpoint: endpoint, Bucket: bucket, Prefix: prefix})
	if err != nil {
		return nil, err
	}
	return remote.Limit(s, remote.LimitOptions{}), nil
}

// killValue is what every key has at an LSN.
func killValue(k int, lsn page.LSN) string {
	return fmt.Sprintf("%d@%s %0300d", k, lsn, uint64(lsn)*7919)
}

// uploadUntilKilled writes, flushes and compacts, and prints after each step up to where the remote alone is said to be enough.
func uploadUntilKilled() error {
	ctx := context.Background()
	store, err := openKillStore(ctx, os.Getenv(killEndpoint), os.Getenv(killBucket), os.Getenv(killPrefix))
	if err != nil {
		return err
	}
	g, err := upload.Leases{Remote: store}.Acquire(ctx, uploadPlace, 0)
	if err != nil {
		return err
	}
	u := &uploader{fs: virtualfile.NewOS(), root: os.Getenv(killDir), store: store, faults: faultstore.New(store, 1), generation: g, past: &past{}}
	if err := u.start(); err != nil {
		return err
	}
	for step := 0; ; step++ {
		lsn := u.tl.LastRecordLSN() + 8
		var b page.Batch
		for k := range uploadKeys {
			b.PutImage(blockKey(k), lsn, []byte(killValue(k, lsn)))
		}
		if err := errors.Join(u.tl.Put(ctx, &b), u.tl.Flush(ctx)); err != nil {
			return err
		}
		if step%5 == 4 {
			if err := u.compact(); err != nil {
				return err
			}
		}
		fmt.Println(u.tl.RemoteConsistentLSN(), u.tl.DiskConsistentLSN())
	}
}

// TestKilledWithS3 kills a process that uploads to a real S3 server, with SIGKILL at random moments, again and again. What it
// reported is in the remote, what it made durable is on its disk, and in the end the bucket holds what the index names.
func TestKilledWithS3(t *testing.T) {
	server := testkit.StartS3(t)
	for run := range testkit.Size(1, 1, 4) {
		t.Run(fmt.Sprintf("run=%d", run), func(t *testing.T) { killAgainAndAgain(t, server, uint64(run), testkit.Size(3, 8, 50)) })
	}
}

func killAgainAndAgain(t *testing.T, server *testkit.S3, seed uint64, kills int) {
	dir := t.TempDir()
	store, err := openKillStore(t.Context(), server.Endpoint, server.Bucket, t.Name())
	require.NoError(t, err)
	rnd := testkit.Rand(t, seed)
	var reported, durable page.LSN
	// A slow machine may need more time than the first ones have, to upload anything.
	const most = 10
	for i := 0; i < kills || reported == 0 && i < most*kills; i++ {
		r, d := killOnce(t, server, dir, time.Duration(rnd.IntN(400<<min(i/kills, 4)))*time.Millisecond)
		reported, durable = max(reported, r), max(durable, d)
		if r > 0 {
			lookFromElsewhere(t, store, reported)
		}
	}
	require.Positive(t, reported)

	g, err := upload.Leases{Remote: store}.Acquire(t.Context(), uploadPlace, 0)
	require.NoError(t, err)
	u := &uploader{t: t, fs: virtualfile.NewOS(), root: dir, store: store, faults: faultstore.New(store, 1), generation: g, past: &past{}}
	require.NoError(t, u.start())
	require.GreaterOrEqual(t, u.tl.DiskConsistentLSN(), durable)
	u.settle()
	u.sameAsKilled(u.tl.DiskConsistentLSN())
	requireNoLeak(t, store, g)
	t.Logf("%d kills, up to LSN %s, %d objects", kills, durable, len(objects(t, store)))
	u.close()
}

// killOnce runs a child for a while after its first step.
func killOnce(t *testing.T, server *testkit.S3, dir string, after time.Duration) (reported, durable page.LSN) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), killDir+"="+dir, killEndpoint+"="+server.Endpoint, killBucket+"="+server.Bucket, killPrefix+"="+t.Name())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for first := true; lines.Scan(); first = false {
		var r, d string
		_, err := fmt.Sscan(lines.Text(), &r, &d)
		require.NoError(t, err)
		reported, err = page.ParseLSN(r)
		require.NoError(t, err)
		durable, err = page.ParseLSN(d)
		require.NoError(t, err)
		if first {
			time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		}
	}
	require.ErrorContains(t, cmd.Wait(), "killed")
	return reported, durable
}

// lookFromElsewhere attaches from the remote alone, without leaving a trace, and compares.
func lookFromElsewhere(t *testing.T, store remote.Storage, reported page.LSN) {
	u := &uploader{t: t, fs: virtualfile.NewMem(), store: store, generation: 1 << 30, past: &past{},
		faults: faultstore.New(store, 1, &faultstore.Fault{Op: faultstore.Put, Nth: 1, Sticky: true}, &faultstore.Fault{Op: faultstore.Delete, Nth: 1, Sticky: true})}
	require.NoError(t, u.start())
	require.GreaterOrEqual(t, u.tl.DiskConsistentLSN(), reported)
	u.sameAsKilled(u.tl.DiskConsistentLSN())
	require.NoError(t, errors.Join(u.tl.Close(), u.env.Close()))
}

// sameAsKilled compares with what children write.
func (u *uploader) sameAsKilled(upTo page.LSN) {
	for lsn := page.LSN(readFirst + 8); lsn <= upTo; lsn += 8 {
		for k := range uploadKeys {
			u.past.values[k] = append(u.past.values[k], pastValue{lsn, killValue(k, lsn)})
		}
	}
	u.past.last = upTo
	for lsn := max(readFirst, upTo-50*8); lsn <= upTo; lsn += 8 {
		u.same(lsn)
	}
	u.same(readFirst + (upTo-readFirst)/16*8)
}
