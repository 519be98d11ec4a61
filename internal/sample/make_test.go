//go:build makesample

// How testdata/sample is made: scripts/make-sample.sh runs this as a test, for the servers of testkit.

package sample_test

import (
	"archive/tar"
	"bytes"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/sample"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg/wal"
)

var out = flag.String("out", "", "folder to write the sample to; it must not exist")

const (
	segSizeMB = 4
	segSize   = segSizeMB << 20
	// transactions of one pgbench client in each of the rounds, and the number of clients.
	transactions = 1225
	clients      = 4
	rounds       = 3
	// minRecords is what the demo promises.
	minRecords = 100_000
	// midLSNs is how many positions between start and end get digests, each with minOpen transactions open.
	midLSNs = 4
	minOpen = 3
	// skipHeader keeps the positions away from page headers, where the end of one record is not the start
	// of the next.
	skipHeader = 64
)

func TestMakeSample(t *testing.T) {
	require.NotEmpty(t, *out, "give -out")
	require.NoError(t, os.MkdirAll(filepath.Join(*out, "wal"), 0o755))
	p := testkit.Server(t, sample.Version, testkit.Config{WALSegSizeMB: segSizeMB, Settings: map[string]string{
		"full_page_writes": "off", "wal_level": "replica", "wal_recycle": "off", "wal_keep_size": "1GB", "timezone": "UTC", "log_timezone": "UTC",
	}})
	base := makeBase(t, p)
	work(t, p)
	p.Stop()
	records := dumpWAL(t, p, base)
	require.GreaterOrEqual(t, len(records), minRecords)
	start := wal.ShutdownCheckpointEnd(records[0].start, segSize)
	end := wal.ShutdownCheckpointEnd(records[len(records)-1].start, segSize)
	t.Logf("%d records from %s to %s", len(records)-1, start, end)

	writePages(t, digestDir(t, base, start))
	archive := p.CopyWAL()
	for _, lsn := range pick(t, records) {
		r := testkit.Recovery{Version: sample.Version, Base: base, WAL: archive, Until: lsn}
		writePages(t, digestDir(t, r.DataDir(t), lsn))
	}
	r := testkit.Recovery{Version: sample.Version, Base: base, WAL: archive}
	writePages(t, digestDir(t, r.DataDir(t), end))
	writeCluster(t, base)
	for no := uint64(start) / segSize; no <= uint64(end)/segSize; no++ {
		name := wal.SegmentName(1, page.LSN(no*segSize), segSize)
		b, err := os.ReadFile(filepath.Join(archive, name))
		require.NoError(t, err)
		compress(t, filepath.Join("wal", name+".zst"), b)
	}
	t.Log(strings.TrimSpace(p.Run(filepath.Join(p.Bin, "postgres"), "--version")))
}

// makeBase fills the cluster and stops it right behind a WAL segment's start, so that the sample's WAL has
// nothing from before.
func makeBase(t *testing.T, p *testkit.Postgres) string {
	p.Start()
	p.Run(p.Tool(t, "pgbench"), "-i", "-q", "-s", "1")
	s := p.Connect("postgres")
	s.Each(
		"create table orders(id bigserial primary key, customer int not null, note text, at timestamptz default now())",
		"create index orders_customer on orders(customer)",
		"insert into orders(customer, note) select g % 50, repeat('n', g % 40) from generate_series(1, 2000) g",
		"create unlogged table scratch(a int primary key)",
		"vacuum freeze",
		"checkpoint",
		"select pg_switch_wal()",
	)
	s.Close()
	p.Stop()
	base := filepath.Join(p.Dir, "base")
	testkit.CopyTree(t, base, p.Data)
	return base
}

// work is what the sample's WAL does: pgbench, and between its rounds something of most other things that
// an application does.
func work(t *testing.T, p *testkit.Postgres) {
	p.Start()
	s, other := p.Connect("postgres"), p.Connect("postgres")
	pgbench := p.Tool(t, "pgbench")
	for round := range rounds {
		p.Run(pgbench, "-n", "-c", fmt.Sprint(clients), "-j", "2", "-t", fmt.Sprint(transactions),
			"--random-seed="+fmt.Sprint(round+1))
		s.Each(
			fmt.Sprintf("insert into orders(customer, note) select g %% 70, 'round %d' from generate_series(1, 500) g", round),
			"begin; update orders set customer = customer + 1 where id % 97 = 0; savepoint a; delete from orders where id % 101 = 0; "+
				"rollback to a; savepoint b; delete from orders where id % 103 = 0; release b; commit",
			fmt.Sprintf("begin; insert into orders(customer, note) values (1, 'prepared'); prepare transaction 'p%d'", round),
		)
		switch round {
		case 0:
			s.Each("begin; select * from orders where id < 20 for share")
			other.Each("begin; select * from orders where id < 20 for key share; select * from orders where id between 10 and 40 for share; commit")
			s.Each("commit", "update orders set note = 'locked' where id < 20", "vacuum pgbench_tellers, pgbench_branches, orders")
		case 1:
			s.Each("commit prepared 'p0'", "create table archive as select * from orders where id < 600", "truncate pgbench_history",
				"create index on archive(at)", "drop table archive", "vacuum (freeze) orders", "checkpoint")
		}
	}
	s.Each("rollback prepared 'p1'", "analyze orders")
}

// record is one line of pg_waldump.
type record struct {
	start page.LSN
	open  int // transactions that have written and not ended before this record
}

var dumpLine = regexp.MustCompile(`^rmgr: (\S+) .*, tx: +([0-9]+), lsn: ([0-9A-F]+/[0-9A-F]+), prev [^,]+, desc: (\S+)`)

// dumpWAL lists all records from the base's checkpoint on.
func dumpWAL(t *testing.T, p *testkit.Postgres, base string) []record {
	control := p.Run(filepath.Join(p.Bin, "pg_controldata"), base)
	m := regexp.MustCompile(`Latest checkpoint location: +(\S+)`).FindStringSubmatch(control)
	require.NotNil(t, m)
	var records []record
	open := map[string]bool{}
	dump, _ := p.TryRun(p.Tool(t, "pg_waldump"), "-p", filepath.Join(p.Data, "pg_wal"), "-s", m[1])
	for line := range strings.Lines(dump) {
		f := dumpLine.FindStringSubmatch(line)
		if f == nil {
			require.Contains(t, line, "pg_waldump: error: error in WAL record", "the end of the WAL")
			continue
		}
		lsn, err := page.ParseLSN(f[3])
		require.NoError(t, err)
		records = append(records, record{lsn, len(open)})
		switch {
		case f[1] == "Transaction" && (f[4] == "COMMIT" || f[4] == "ABORT"):
			delete(open, f[2])
		case f[1] == "Transaction" && (strings.HasSuffix(f[4], "_PREPARED")):
			// The prepared transaction's xid is not in the record's header; it counts as open from then on.
		case f[2] != "0":
			open[f[2]] = true
		}
	}
	return records
}

// pick chooses positions evenly, each where transactions are in flight.
func pick(t *testing.T, records []record) []page.LSN {
	var lsns []page.LSN
	for i := range midLSNs {
		at := len(records) * (i + 1) / (midLSNs + 1)
		for records[at].open < minOpen || records[at].start%8192 < skipHeader {
			at++
		}
		t.Logf("position %s: before record %d, %d transactions open", records[at].start, at, records[at].open)
		lsns = append(lsns, records[at].start)
	}
	return lsns
}

func writePages(t *testing.T, p *sample.Pages) {
	var b bytes.Buffer
	_, err := p.WriteTo(&b)
	require.NoError(t, err)
	rels, slru := p.Count()
	t.Logf("digests at %s: %d pages of relations, %d of SLRUs", p.LSN, rels, slru)
	compress(t, sample.PagesName(p.LSN), b.Bytes())
}

// unwanted are parts of a data directory that the sample does not need: WAL, caches and what says where the
// server ran.
var unwanted = regexp.MustCompile(`^pg_wal/[0-9A-F]{24}$|pg_internal\.init$|^postmaster\.opts$`)

// writeCluster packs the data directory, with names sorted and no times or owners.
func writeCluster(t *testing.T, dir string) {
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		require.NoError(t, err)
		name, err := filepath.Rel(dir, path)
		require.NoError(t, err)
		if name == "." || unwanted.MatchString(name) {
			return nil
		}
		if e.IsDir() {
			return tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o700})
		}
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		if name == "postgresql.auto.conf" {
			content = regexp.MustCompile(`(?m)^(unix_socket_directories|port|listen_addresses|fsync) .*\n`).ReplaceAll(content, nil)
		}
		require.NoError(t, tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: int64(len(content))}))
		_, err = tw.Write(content)
		return err
	})
	require.NoError(t, err)
	require.NoError(t, tw.Close())
	compress(t, "cluster.tar.zst", b.Bytes())
}

// compress writes one file of the sample with the zstd program, whose highest levels Go's has not.
func compress(t *testing.T, name string, b []byte) {
	f, err := os.OpenFile(filepath.Join(*out, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	require.NoError(t, err)
	cmd := exec.Command("zstd", "-19", "--long=26", "-q", "-c")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(b), io.Writer(f), os.Stderr
	require.NoError(t, cmd.Run())
	require.NoError(t, f.Close())
}
