package pgworker_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/walredo"
	"github.com/stratapg/strata/walredo/native"
	"github.com/stratapg/strata/walredo/pgworker"
	"github.com/stratapg/strata/walredo/pool"
	"github.com/stratapg/strata/walredo/walredotest"
	"github.com/stratapg/strata/walredo/walredotest/processes"
)

func TestMain(m *testing.M) {
	processes.ActAsWorker()
	goleak.VerifyTestMain(m)
}

var kind = walredo.Kind{Version: pg.V15, Flavour: pg.Stock}

func openPool(t testing.TB, change func(*pool.Options)) *pool.Pool {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	o := pool.Options{Worker: pgworker.Worker(exe, processes.PGServer(t, pg.V15))}
	if change != nil {
		change(&o)
	}
	p, err := pool.New(o)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, p.Close())
		require.Zero(t, p.Metrics().Processes)
	})
	return p
}

// job is a request and the page that native makes of it.
type job struct {
	req  *walredo.Request
	want []byte
}

func jobs(t testing.TB) (all []job) {
	t.Helper()
	for name, req := range walredotest.Requests(t) {
		stock := processes.Stock15(t, req)
		want, err := native.New().Redo(t.Context(), nil, stock)
		require.NoError(t, err, name)
		all = append(all, job{stock, want})
		// The same changes to another block and fork: as many pages of other relations.
		init := *stock
		init.Records = stock.Records[:1]
		want, err = native.New().Redo(t.Context(), nil, &init)
		require.NoError(t, err, name)
		all = append(all, job{&init, want})
	}
	return all
}

// Requests of many records, one after the other in one process, in any order: nothing of one is in the next.
func TestRequestsDoNotMeet(t *testing.T) {
	p := openPool(t, nil)
	all := jobs(t)
	rng := testkit.Rand(t, 0)
	for range testkit.Size(200, 2000, 100_000) {
		j := all[rng.IntN(len(all))]
		got, err := p.Redo(t.Context(), nil, j.req)
		require.NoError(t, err)
		require.Equal(t, j.want, got)
	}
	require.EqualValues(t, 1, p.Metrics().Launches)
}

// mutate changes a copy of one of a request's records and makes its checksum right again.
func mutate(t *testing.T, rng interface{ IntN(int) int }, req *walredo.Request) *walredo.Request {
	out := *req
	out.Records = append([]walredo.Record{}, req.Records...)
	r := &out.Records[rng.IntN(len(out.Records))]
	b := append([]byte{}, r.Value.Bytes...)
	const head, crcAt, infoAt = 24, 20, 16
	switch rng.IntN(6) {
	case 0: // a bit anywhere, as a disk flips it: the checksum finds it
		b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
		r.Value.Bytes = b
		return &out
	case 1: // another type
		b[infoAt] = byte(rng.IntN(16)) << 4
	case 2: // another resource manager
		b[infoAt+1] = byte(rng.IntN(int(pg.RmLogicalMsg) + 3))
	case 3: // cut
		b = b[:head+rng.IntN(len(b)-head)]
		binary.LittleEndian.PutUint32(b, uint32(len(b)))
	default: // bytes behind the header
		for range 1 + rng.IntN(3) {
			b[head+rng.IntN(len(b)-head)] = byte(rng.IntN(256))
		}
	}
	table := crc32.MakeTable(crc32.Castagnoli)
	binary.LittleEndian.PutUint32(b[crcAt:], crc32.Update(crc32.Update(0, table, b[head:]), table, b[:crcAt]))
	r.Value.Bytes = b
	return &out
}

// Records that make no sense end their own request: with a reason or with some page, and where the server's code
// breaks, with the process. Whoever asks next gets his page.
func TestMalformedRecords(t *testing.T) {
	p := openPool(t, func(o *pool.Options) { o.MinBackoff, o.MaxBackoff = 1, 1 })
	once := p.With(pool.Policy{Attempts: 1})
	all := jobs(t)
	rng := testkit.Rand(t, 0)
	outcomes := map[string]int{}
	for range testkit.Size(100, 1500, 100_000) {
		j := all[rng.IntN(len(all))]
		_, err := once.Redo(t.Context(), nil, mutate(t, rng, j.req))
		switch {
		case err == nil:
			outcomes["a page"]++
		case errors.Is(err, walredo.ErrCorrupt):
			outcomes["does not fit"]++
		case errors.Is(err, walredo.ErrUnsupported):
			outcomes["refused"]++
		case errors.Is(err, walredo.ErrNoBase):
			outcomes["no image"]++
		case errors.Is(err, pool.ErrProcess):
			outcomes["process"]++
		default:
			require.NoError(t, err)
		}
		got, err := p.Redo(t.Context(), nil, j.req)
		require.NoError(t, err)
		require.Equal(t, j.want, got)
	}
	t.Logf("%v, %d launches", outcomes, p.Metrics().Launches)
	require.Positive(t, outcomes["does not fit"])
	require.Positive(t, outcomes["refused"])
}

// A worker as an external command says why it ends, in the protocol as Neon has it.
func TestReasonOfEnd(t *testing.T) {
	server := processes.PGServer(t, pg.V15)
	exe, err := os.Executable()
	require.NoError(t, err)
	w, err := pool.External(fmt.Sprintf("%s %s --pg {pg} --checksums={checksums} --bin %s --extension %s --scratch %s --user %s",
		exe, pgworker.Subcommand, server.Bin, server.Extension, server.Scratch, or(server.User, pgworker.DefaultUser)))
	require.NoError(t, err)
	p := openPool(t, func(o *pool.Options) { o.Worker = w })
	j := jobs(t)[0]
	got, err := p.Redo(t.Context(), nil, j.req)
	require.NoError(t, err)
	require.Equal(t, j.want, got)
	other := *j.req
	other.Key.F6 += 7
	_, err = p.With(pool.Policy{Attempts: 1}).Redo(t.Context(), nil, &other)
	require.ErrorIs(t, err, pool.ErrProcess)
	require.ErrorContains(t, err, "the record does not name the block")
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// What a worker is started with that does not work is said by the launch.
func TestCannotStart(t *testing.T) {
	server := processes.PGServer(t, pg.V15)
	exe, err := os.Executable()
	require.NoError(t, err)
	for name, change := range map[string]func(*pgworker.Server){
		"no library":  func(s *pgworker.Server) { s.Extension = "/no/such/library" },
		"no server":   func(s *pgworker.Server) { s.Bin = "/no/such/folder" },
		"bad scratch": func(s *pgworker.Server) { s.Scratch = filepath.Join(s.Extension, "file") },
	} {
		s := server
		change(&s)
		p := openPool(t, func(o *pool.Options) { o.Worker = pgworker.Worker(exe, s) })
		err := p.Ping(t.Context(), kind)
		require.ErrorIs(t, err, pool.ErrLaunch, name)
		require.Regexp(t, "(?i)no such file|not a directory", err.Error(), name)
	}
}
