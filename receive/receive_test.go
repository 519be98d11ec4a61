package receive_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/ingest"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/control"
	"github.com/stratapg/strata/receive"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// source is a running server whose cluster was imported before it was started.
type source struct {
	*testkit.Postgres
	store   *memStore
	control *control.File
	base    string
}

func newSource(t *testing.T, v pg.Version) *source {
	p := testkit.Server(t, v, testkit.Config{Settings: map[string]string{"wal_keep_size": "1GB", "wal_sender_timeout": "5s"}})
	p.Start()
	p.Exec("postgres", "create table t(a int primary key, b text)")
	p.Stop()
	base := filepath.Join(testkit.ServerDir(t), "base")
	testkit.CopyTree(t, base, p.Data)
	s := &source{Postgres: p, base: base}
	s.store, s.control = importDir(t, base)
	p.Start()
	return s
}

func (s *source) options() receive.Options {
	return receive.Options{Store: s.store, ConnInfo: s.ConnString("postgres"), Slot: "strata", Version: s.control.Version(),
		SegSize: s.control.WALSegSize(), SystemID: s.control.SystemID(), StatusInterval: 200 * time.Millisecond,
		RetryMin: 20 * time.Millisecond, RetryMax: 200 * time.Millisecond}
}

func (s *source) work(from int) {
	s.Exec("postgres", fmt.Sprintf("insert into t select g, repeat('x', g %% 300) from generate_series(%d, %d) g", from, from+4999))
	s.Exec("postgres", "update t set b = b || 'y' where a % 3 = 0")
}

func (s *source) slotLSN(t *testing.T) page.LSN {
	lsn, err := page.ParseLSN(s.Value("postgres", "select restart_lsn from pg_replication_slots where slot_name = 'strata'"))
	require.NoError(t, err)
	return lsn
}

// equalsDirectory compares with a store that took the same WAL from the server's directory.
func (s *source) equalsDirectory(t *testing.T, wal string) {
	want, _ := importDir(t, s.base)
	i, err := ingest.NewIngester(t.Context(), want, ingest.Options{Version: s.control.Version()})
	require.NoError(t, err)
	_, err = i.Dir(t.Context(), wal, s.store.last, nil)
	require.NoError(t, err)
	require.Equal(t, want.last, s.store.last)
	a, b := want.history(), s.store.history()
	require.Len(t, b, len(a))
	for k, v := range a {
		require.Equal(t, v, b[k], k.Describe())
	}
}

// follow runs Run until the returned function is called, which gives its outcome.
func follow(t *testing.T, o receive.Options) (stop func() (receive.Result, error)) {
	ctx, cancel := context.WithCancel(t.Context())
	type outcome struct {
		r   receive.Result
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		r, err := receive.Run(ctx, o)
		done <- outcome{r, err}
	}()
	return func() (receive.Result, error) { cancel(); o := <-done; return o.r, o.err }
}

func eventually(t *testing.T, what string, ok func() bool) {
	require.Eventually(t, ok, 20*time.Second, 20*time.Millisecond, what)
}

func TestReceive(t *testing.T) {
	for _, v := range []pg.Version{pg.V15, pg.V17} {
		if v == pg.V15 && !testkit.Long() {
			continue // the other tests receive from it
		}
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			s := newSource(t, v)
			o := s.options()
			o.FlushInterval = -1
			var progress receive.Progress
			o.Progress = func(p receive.Progress) { progress = p }
			stop := follow(t, o)
			s.work(1)
			eventually(t, "the first work", func() bool { return s.store.LastRecordLSN() >= s.LSN() })
			require.LessOrEqual(t, s.slotLSN(t), s.store.DiskConsistentLSN(), "only what is durable moves the slot")
			require.NoError(t, s.store.Flush(t.Context()))
			eventually(t, "the slot", func() bool { return s.slotLSN(t) >= s.store.DiskConsistentLSN() })

			// A server that shuts down waits until all it sent is durable here.
			s.work(40000)
			began := time.Now()
			s.Stop()
			require.Less(t, time.Since(began), 20*time.Second, "the shutdown waits for the receiver")
			s.Start()

			// The server goes away and comes back.
			s.StopImmediately()
			s.Start()
			s.work(10000)
			eventually(t, "the second work", func() bool { return s.store.LastRecordLSN() >= s.LSN() })
			r, err := stop()
			require.NoError(t, err)
			require.Equal(t, s.store.LastRecordLSN(), r.LSN)
			require.Equal(t, r.LSN, s.store.DiskConsistentLSN(), "what was received is durable at the end")
			require.Equal(t, r.LSN, s.slotLSN(t), "and the server knows")
			require.Equal(t, r.LSN, progress.LSN)
			require.Positive(t, r.Records)

			// Until a record's end, and within the record behind it.
			s.work(20000)
			until := s.LSN()
			s.work(30000)
			o.Until = until + 9
			r, err = receive.Run(t.Context(), o)
			require.NoError(t, err)
			require.Equal(t, until, r.LSN)
			r, err = receive.Run(t.Context(), o)
			require.NoError(t, err)
			require.Zero(t, r.Records)
			s.equalsDirectory(t, filepath.Join(s.Data, "pg_wal"))
		})
	}
}

// TestReceiveFollowsTimelines goes on when the server has been recovered onto another timeline.
func TestReceiveFollowsTimelines(t *testing.T) {
	s := newSource(t, pg.V15)
	o := s.options()
	s.work(1)
	o.Until = s.LSN()
	_, err := receive.Run(t.Context(), o)
	require.NoError(t, err)
	s.work(10000)
	s.Stop()
	s.Configure(map[string]string{"restore_command": "false"})
	require.NoError(t, os.WriteFile(filepath.Join(s.Data, "recovery.signal"), nil, 0o600))
	testkit.Give(t, s.Data)
	s.Start()
	eventually(t, "the promotion", func() bool { return s.Value("postgres", "select pg_is_in_recovery()") == "f" })
	s.Exec("postgres", "checkpoint") // ends the use of the old timeline's last segment
	s.work(30000)
	require.Equal(t, "00000002", s.Value("postgres", "select substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"))
	o.Until = s.LSN()
	_, err = receive.Run(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, o.Until, s.store.last)
	s.equalsDirectory(t, filepath.Join(s.Data, "pg_wal"))
	files, err := datadir.At(s.store, s.store.last, pg.V15).ClusterFiles(t.Context())
	require.NoError(t, err)
	var names []string
	for _, f := range files {
		names = append(names, f.Path)
	}
	require.Contains(t, names, "pg_wal/00000002.history")
}

func TestReceiveRefuses(t *testing.T) {
	s := newSource(t, pg.V15)
	for name, c := range map[string]struct {
		change func(o *receive.Options)
		want   string
	}{
		"another cluster":  {func(o *receive.Options) { o.SystemID++ }, "system identifier"},
		"another version":  {func(o *receive.Options) { o.Version = pg.V17 }, "version"},
		"another segment":  {func(o *receive.Options) { o.SegSize = 1 << 20 }, "WAL segments"},
		"no server":        {func(o *receive.Options) { o.ConnInfo = "host=/nowhere" }, "connect"},
		"no such string":   {func(o *receive.Options) { o.ConnInfo = "host" }, "connection string"},
		"name of the slot": {func(o *receive.Options) { o.Slot = "a b; drop" }, "slot name"},
		"later timeline":   {func(o *receive.Options) { o.PGTimeline = 5 }, "we are on 5 already"},
	} {
		t.Run(name, func(t *testing.T) {
			o := s.options()
			c.change(&o)
			before := s.store.LastRecordLSN()
			_, err := receive.Run(t.Context(), o)
			require.ErrorContains(t, err, c.want)
			require.Equal(t, before, s.store.LastRecordLSN())
		})
	}
	_, err := receive.Run(t.Context(), receive.Options{StatusInterval: -1})
	for _, w := range []string{"Store", "ConnInfo", "Slot", "Version", "SystemID", "SegSize", "StatusInterval"} {
		require.ErrorContains(t, err, w)
	}
}

// TestReceiveFromRemovedWAL says what to do when the server no longer has what comes next.
func TestReceiveFromRemovedWAL(t *testing.T) {
	s := newSource(t, pg.V15)
	s.Exec("postgres", "alter system set wal_keep_size = 0")
	s.Exec("postgres", "select pg_reload_conf()")
	for i := range 3 {
		s.work(1 + 10000*i)
		s.Exec("postgres", "select pg_switch_wal()")
		s.Exec("postgres", "checkpoint")
	}
	_, err := receive.Run(t.Context(), s.options())
	require.ErrorContains(t, err, "ingest it from an archive")
}
