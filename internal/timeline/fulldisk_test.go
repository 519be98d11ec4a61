package timeline

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
	"github.com/stratapg/strata/remote/faultstore"
	"github.com/stratapg/strata/remote/memstore"
	"github.com/stratapg/strata/virtualfile"
)

// smallDisk is a disk of some bytes. A file of nobody's can fill it.
type smallDisk struct {
	fs   virtualfile.FS
	root string
}

// ballast is the file that fills a small disk.
const ballast = "ballast"

// fill takes what room there is.
func (d *smallDisk) fill() error {
	f, err := d.fs.Create(filepath.Join(d.root, ballast))
	if err != nil {
		return err
	}
	block := make([]byte, 4<<10)
	for at := int64(0); err == nil; at += int64(len(block)) {
		_, err = f.WriteAt(block, at)
	}
	if cerr := f.Close(); cerr != nil || !noSpace(err) {
		return errors.Join(err, cerr)
	}
	return nil
}

// clear gives the room back.
func (d *smallDisk) clear() error { return d.fs.Remove(filepath.Join(d.root, ballast)) }

func memoryDisk(bytes int64) *smallDisk {
	m := virtualfile.NewMem()
	m.SetCapacity(bytes)
	return &smallDisk{fs: m}
}

// TestDownUnderLoad: while the remote is down, or the disk is full, Put waits once memory has no more room; reads of what is here go on,
// and all goes on by itself after. One of the remotes is a real server, which is killed and started again. The long form has them gone for a minute.
func TestDownUnderLoad(t *testing.T) {
	const most, size = 100 << 10, 4 << 20
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	long := time.Duration(testkit.Size(20, 20, int(time.Minute/time.Millisecond))) * time.Millisecond
	down := &faultstore.Fault{Op: faultstore.Put, Nth: 1, Sticky: true}
	server := testkit.StartS3(t)
	bucket, err := openKillStore(ctx, server.Endpoint, server.Bucket, "down")
	require.NoError(t, err)
	for name, c := range map[string]struct {
		store       remote.Storage
		disk        *smallDisk
		stop, again func(u *uploader, d *smallDisk) error
		held        func(m Metrics) bool
		says        error // why nothing is written meanwhile
		owes        error // what the uploads say meanwhile
	}{
		"server": {bucket, &smallDisk{virtualfile.NewOS(), t.TempDir()},
			func(*uploader, *smallDisk) error { server.Stop(); return nil },
			func(*uploader, *smallDisk) error { server.Start(); return nil },
			func(m Metrics) bool { return m.Uploads.Waits > 0 }, nil, remote.ErrUnavailable},
		"remote": {memstore.New(), memoryDisk(0),
			func(u *uploader, _ *smallDisk) error { u.faults.Set(down); return nil },
			func(u *uploader, _ *smallDisk) error { u.faults.Set(); return nil },
			func(m Metrics) bool { return m.Uploads.Waits > 0 }, nil, remote.ErrUnavailable},
		"disk": {memstore.New(), memoryDisk(size),
			func(_ *uploader, d *smallDisk) error { return d.fill() },
			func(_ *uploader, d *smallDisk) error { return d.clear() },
			func(m Metrics) bool { return m.FlushErrors > 1 }, syscall.ENOSPC, nil},
		"real disk": {memstore.New(), realDisk(t, size),
			func(_ *uploader, d *smallDisk) error { return d.fill() },
			func(_ *uploader, d *smallDisk) error { return d.clear() },
			func(m Metrics) bool { return m.FlushErrors > 1 }, syscall.ENOSPC, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if c.disk == nil {
				t.Log("this process may not mount anything; the other disks are in memory")
				return
			}
			u := &uploader{t: t, fs: c.disk.fs, root: c.disk.root, store: c.store, generation: 1, past: &past{}, rnd: rand.New(rand.NewPCG(1, 1)),
				change: func(c *Config) { c.CheckpointDistance, c.Upload.MaxDebt = 4<<10, most }}
			u.faults = faultstore.New(u.store, 1)
			require.NoError(t, u.start())
			require.NoError(t, u.work())
			require.NoError(t, u.tl.WaitUploads(t.Context()))
			require.NoError(t, c.stop(u, c.disk))
			held, ended := u.putOnAndOn(ctx, c.held)
			select {
			case <-held:
			case err := <-ended:
				t.Fatalf("nothing held it back: %v", err)
			}
			durable := u.tl.DiskConsistentLSN()
			for begin := time.Now(); time.Since(begin) < long; time.Sleep(testDelay) {
				_, err := u.tl.Get(ctx, blockKey(0), durable)
				require.NoError(t, err)
			}
			require.Equal(t, durable, u.tl.DiskConsistentLSN())
			require.ErrorIs(t, u.tl.flushError(), c.says)
			owed := u.tl.UploadStatus()
			require.Less(t, owed.Bytes, int64(2*most))
			require.ErrorIs(t, owed.Err, c.owes)
			require.Empty(t, ended)
			var b page.Batch
			b.PutImage(blockKey(0), u.tl.LastRecordLSN()+8, []byte("x"))
			hasty, cancel := context.WithTimeout(ctx, testDelay)
			require.ErrorIs(t, u.tl.Put(hasty, &b), context.DeadlineExceeded)
			cancel()
			require.NoError(t, c.again(u, c.disk))
			require.NoError(t, <-ended)
			require.NoError(t, u.tl.Flush(ctx))
			u.settle()
			require.Equal(t, u.tl.LastRecordLSN(), u.tl.RemoteConsistentLSN())
			for lsn := page.LSN(readFirst); lsn <= u.past.last; lsn += 8 * 25 {
				u.same(lsn)
			}
			requireNoLeak(t, u.store, 1)
			u.close()
		})
	}
}

// putOnAndOn writes more than may be owed. held is closed once something has held it back, ended gives how it has ended.
func (u *uploader) putOnAndOn(ctx context.Context, by func(Metrics) bool) (held chan struct{}, ended chan error) {
	held, ended = make(chan struct{}), make(chan error, 1)
	hold := sync.OnceFunc(func() { close(held) })
	waits := u.env.Metrics().PutWaits
	go func() {
		for ctx.Err() == nil {
			if m := u.env.Metrics(); by(m) && m.PutWaits > waits {
				hold()
				return
			}
			time.Sleep(testDelay)
		}
	}()
	go func() {
		for range 250 {
			if err := u.put(); err != nil {
				ended <- err
				return
			}
		}
		ended <- nil
	}()
	return held, ended
}

// TestFullDiskRefuses: where that is wanted Put gives the reason at once, as TryPut does in any case; and with room for nothing, not even
// for the scratch file of values that memory has no room for, Put waits for that too.
func TestFullDiskRefuses(t *testing.T) {
	for _, refuse := range []bool{true, false} {
		disk := virtualfile.NewMem()
		u := &uploader{t: t, fs: disk, store: memstore.New(), generation: 1, past: &past{}, rnd: rand.New(rand.NewPCG(1, 1)),
			change: func(c *Config) {
				c.RefuseOnFullDisk, c.MemBytes, c.MemChunk = refuse, 128<<10, 32<<10
			}}
		u.faults = faultstore.New(u.store, 1)
		require.NoError(t, u.start())
		disk.SetCapacity(disk.Used())
		var err error
		for err == nil {
			var b page.Batch
			b.PutImage(blockKey(0), u.tl.LastRecordLSN()+8, make([]byte, 8000))
			err = u.tl.TryPut(t.Context(), &b)
		}
		require.ErrorIs(t, err, syscall.ENOSPC)
		last := u.tl.LastRecordLSN()
		var b page.Batch
		b.PutImage(blockKey(0), last+8, make([]byte, 8000))
		if refuse {
			require.NotErrorIs(t, err, ErrBackpressure)
			require.ErrorIs(t, u.tl.Put(t.Context(), &b), syscall.ENOSPC)
			disk.SetCapacity(0)
		} else {
			require.ErrorIs(t, err, ErrBackpressure)
			waits := u.env.Metrics().PutWaits
			ended := make(chan error)
			go func() { ended <- u.tl.Put(t.Context(), &b) }()
			require.Eventually(t, func() bool { return u.env.Metrics().PutWaits > waits }, time.Minute, testDelay)
			require.Equal(t, last, u.tl.LastRecordLSN())
			disk.SetCapacity(0)
			require.NoError(t, <-ended)
			require.Equal(t, last+8, u.tl.LastRecordLSN())
		}
		require.NoError(t, u.tl.Flush(t.Context()))
		require.Equal(t, u.tl.LastRecordLSN(), u.tl.DiskConsistentLSN())
		u.close()
	}
}
