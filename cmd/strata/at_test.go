package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/wal"
)

// skew gives each process of a server a clock of its own, so that transactions do not end in the order of their times.
const skew = `#include <sys/time.h>
#include <time.h>
#include <unistd.h>
int gettimeofday(struct timeval *restrict tv, void *restrict zone) {
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	tv->tv_sec = now.tv_sec + getpid() % 4 * 20;
	tv->tv_usec = now.tv_nsec / 1000;
	return 0;
}
`

// skewed has a server started with such clocks.
func skewed(t *testing.T, p *testkit.Postgres) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		testkit.Skip(t, "no C compiler")
	}
	source, lib := filepath.Join(p.Dir, "skew.c"), filepath.Join(p.Dir, "skew.so")
	require.NoError(t, os.WriteFile(source, []byte(skew), 0o644))
	out, err := exec.Command(cc, "-shared", "-fPIC", "-O1", "-o", lib, source).CombinedOutput()
	require.NoError(t, err, "%s", out)
	bin := filepath.Join(p.Dir, "bin")
	require.NoError(t, os.Mkdir(bin, 0o755))
	run := fmt.Sprintf("#!/bin/sh\nLD_PRELOAD=%s exec %s \"$@\"\n", lib, filepath.Join(p.Bin, "postgres"))
	require.NoError(t, os.WriteFile(filepath.Join(bin, "postgres"), []byte(run), 0o755))
	p.Bin = bin
}

// ended is a record that ends a transaction, as pg_waldump has it.
type ended struct {
	lsn    page.LSN
	xid    string
	commit bool
	at     time.Time
}

var endedLine = regexp.MustCompile(`rmgr: Transaction .* tx: +(\d+), lsn: ([0-9A-F]+/[0-9A-F]+), .* desc: (COMMIT|ABORT) (\S+ \S+) UTC`)

func endedIn(t *testing.T, dump string) (all []ended) {
	for _, m := range endedLine.FindAllStringSubmatch(dump, -1) {
		lsn, err := page.ParseLSN(m[2])
		require.NoError(t, err)
		at, err := time.Parse("2006-01-02 15:04:05.999999", m[4])
		require.NoError(t, err)
		all = append(all, ended{lsn, m[1], m[3] == "COMMIT", at})
	}
	return all
}

// endedBetween reads the same from the segments themselves.
func endedBetween(t *testing.T, v pg.Version, dir string, begin, end page.LSN) (all []ended) {
	r, err := wal.OpenDir(dir, wal.DirOptions{Version: v, Start: begin, Until: end})
	require.NoError(t, err)
	defer r.Close()
	var rec wal.Record
	for {
		ok, err := r.Next(t.Context(), &rec)
		require.NoError(t, err)
		if !ok {
			return all
		}
		const opMask, commit, abort = 0x70, 0x00, 0x20
		if op := rec.Info & opMask; rec.Rmgr == pg.RmXact && (op == commit || op == abort) {
			micros := int64(binary.LittleEndian.Uint64(rec.Main))
			all = append(all, ended{rec.Start, fmt.Sprint(rec.Xid), op == commit, strata.TransactionEnd{Micros: micros}.Time().UTC()})
		}
	}
}

// TestAtTimesOfAServer asks for times around every commit and abort of a real server whose clocks disagree, and compares
// with the server's commit timestamps and with what recovery_target_time would stop at.
func TestAtTimesOfAServer(t *testing.T) {
	if !testkit.WithoutRace(t) {
		return
	}
	versions := []pg.Version{pg.V15, pg.V14, pg.V16, pg.V17}
	for _, v := range versions[:testkit.Size(1, 1, len(versions))] {
		t.Run(fmt.Sprint(v), func(t *testing.T) { atTimes(t, v) })
	}
}

func atTimes(t *testing.T, v pg.Version) {
	p := testkit.Server(t, v, testkit.Config{Settings: map[string]string{"track_commit_timestamp": "on", "wal_keep_size": "1GB"}})
	bin := p.Bin
	p.Start()
	p.Exec("postgres", "create table t(a int)")
	p.Stop()
	store := filepath.Join(t.TempDir(), "store")
	require.Regexp(t, "^import: ", must(t, "import", "--store", store, "--pgdata", p.Data))
	skewed(t, p)
	p.Start()
	begin := p.LSN()
	var sessions []*testkit.Session
	for range 5 {
		sessions = append(sessions, p.Connect("postgres"))
	}
	for i := range 60 {
		s := sessions[i*7%len(sessions)]
		s.Each("begin", "insert into t values (1)", []string{"commit", "commit", "rollback"}[i%3])
	}
	stamps := map[string]string{}
	for _, r := range p.Query("postgres", "select xmin, pg_xact_commit_timestamp(xmin) at time zone 'UTC' from t") {
		stamps[r[0]] = r[1]
	}
	for _, s := range sessions {
		s.Close()
	}
	end := p.LSN()
	p.Stop()
	archive := p.CopyWAL()
	must(t, "ingest", "--store", store, "--wal", archive)

	p.Bin = bin
	all := endedBetween(t, v, archive, begin, end)
	if p.HasTool("pg_waldump") {
		dump := p.Run(p.Tool(t, "pg_waldump"), "-p", filepath.Join(p.Data, "pg_wal"), "-s", begin.String(), "-e", end.String(), "-r", "Transaction")
		require.Equal(t, endedIn(t, dump), all)
	}
	require.GreaterOrEqual(t, len(all), 60)
	turns, aborts, stamped := 0, 0, 0
	for i, e := range all {
		if !e.commit {
			aborts++
		} else if stamp, ok := stamps[e.xid]; ok {
			require.Equal(t, e.at.Format("2006-01-02 15:04:05.999999"), stamp)
			stamped++
		}
		if i > 0 && e.at.Before(all[i-1].at) {
			turns++
		}
	}
	require.Greater(t, turns, 10, "the clocks do not disagree")
	require.GreaterOrEqual(t, aborts, 20)
	require.Equal(t, 40, stamped, "each row's transaction")

	engine, err := strata.Open(t.Context(), strata.Options{Dir: store, ReadOnly: true})
	require.NoError(t, err)
	tenant, err := engine.DefaultTenant(t.Context())
	require.NoError(t, err)
	tl, err := tenant.Timeline(t.Context(), "main")
	require.NoError(t, err)
	stopBefore := func(at time.Time) (page.LSN, bool) {
		for _, e := range all {
			if e.at.After(at) {
				lsn, err := tl.ResolveLSN(t.Context(), e.lsn)
				require.NoError(t, err)
				return lsn, true
			}
		}
		return tl.LastRecordLSN(), false
	}
	for _, e := range all {
		for _, at := range []time.Time{e.at.Add(-time.Microsecond), e.at} {
			got, err := tl.LSNOfTime(t.Context(), at)
			require.NoError(t, err)
			want, later := stopBefore(at)
			require.Equal(t, want, got.LSN, "%s", at)
			require.Equal(t, later, got.Kind == strata.TimePresent)
		}
	}
	at := all[len(all)/2].at.Add(-time.Microsecond)
	want, _ := stopBefore(at)
	require.NoError(t, engine.Close())

	var closing struct {
		LSN  page.LSN `json:"lsn"`
		Kind string   `json:"kind"`
		Time string   `json:"next_time"`
	}
	require.NoError(t, json.Unmarshal([]byte(must(t, "at", "--store", store, "--json", at.Format(time.RFC3339Nano))), &closing))
	require.Equal(t, "present", closing.Kind)
	require.Equal(t, want, closing.LSN)
	require.Regexp(t, `State .* of timeline main\..*\nat: timeline=\w+ lsn=`+want.String()+` kind=present next=\S+ next_time=\S+\n$`,
		must(t, "at", "--store", store, at.Format("2006-01-02 15:04:05.999999+00")))
	require.Regexp(t, `^branch: timeline=\w+ lsn=`+want.String()+`\n$`, must(t, "branch", "--store", store, "--time", at.Format(time.RFC3339Nano), "then"))
	code, _, errs := command(t, "branch", "--store", store, "--time", "2099-01-01", "later")
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "no transaction of timeline main ended after 2099-01-01")
	code, _, errs = command(t, "at", "--store", store, "--timeline", "then", "2001-01-01")
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "oldest state of timeline main")
	require.Regexp(t, `^at: .* lsn=`+want.String()+` `, lastLine(must(t, "at", "--store", store, "--timeline", "then", at.Format(time.RFC3339Nano)))+" ")
}
