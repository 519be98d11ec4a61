package testkit

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// promoted matches the log line of a server that has ended its recovery and takes connections. With
// hot_standby off it does so only then.
const promoted = "database system is ready to accept connections"

// Recovery is a point-in-time recovery by PostgreSQL itself.
type Recovery struct {
	Version pg.Version
	// Base is the data directory to start from: of a cleanly stopped cluster. It is copied.
	Base string
	// WAL is a folder of WAL segments that go on where Base stops. Nobody may write to it meanwhile.
	WAL string
	// Until is the LSN to recover to: records that end at or before it are replayed, no others. 0 means to
	// the end of the WAL, which an Until at its end needs: PostgreSQL stops at a record that begins at or
	// behind the target, and fails if none comes.
	Until page.LSN
	// Settings are added to the configuration.
	Settings map[string]string
}

// Promoted runs the recovery and gives the running server right after its promotion. Nobody has connected
// to it, as reading a catalog may prune its pages.
func (r Recovery) Promoted(t testing.TB) *Postgres {
	t.Helper()
	dir := ServerDir(t)
	data := filepath.Join(dir, "data")
	CopyTree(t, data, r.Base)
	p := Adopt(t, r.Version, data, nil)
	settings := map[string]string{
		"restore_command":                 "cp '" + archive(t, dir, r.WAL, linkOrCopy) + "/%f' '%p'",
		"recovery_target_inclusive":       "off",
		"recovery_target_timeline":        "latest",
		"recovery_target_action":          "promote",
		"hot_standby":                     "off",
		"autovacuum":                      "off",
		"archive_mode":                    "off",
		"max_logical_replication_workers": "0",
		"wal_consistency_checking":        "",
		"checkpoint_timeout":              "1h",
	}
	if r.Until != page.InvalidLSN {
		settings["recovery_target_lsn"] = r.Until.String()
	}
	p.Configure(settings)
	p.Configure(r.Settings)
	if err := os.WriteFile(filepath.Join(data, "recovery.signal"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	Give(t, data)
	p.launch()
	if err := p.await(func() bool { return strings.Contains(p.Log(), promoted) }); err != nil {
		t.Fatal(err)
	}
	return p
}

// DataDir runs the recovery, stops the server fast and gives the data directory. Action `promote` and a
// fast stop: action `shutdown` would leave dirty pages unwritten.
func (r Recovery) DataDir(t testing.TB) string {
	t.Helper()
	p := r.Promoted(t)
	p.Stop()
	return p.Data
}

// segmentName matches a WAL segment, also one that its server was still writing, and a history file.
var segmentName = regexp.MustCompile(`^([0-9A-F]{24})(\.partial)?$|^[0-9A-F]{8}\.history$`)

// archive makes a folder of WAL that the restore command can read: of a .partial segment too. put makes
// one file there of one here.
func archive(t testing.TB, dir, from string, put func(dst, src string) error) string {
	t.Helper()
	to := filepath.Join(dir, "archive")
	if err := os.Mkdir(to, 0o755); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !segmentName.MatchString(e.Name()) {
			continue
		}
		name := strings.TrimSuffix(e.Name(), ".partial")
		if err := put(filepath.Join(to, name), filepath.Join(from, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	Give(t, to)
	return to
}

// linkOrCopy is for an archive that nobody writes to while it is in use: WAL of gigabytes is not copied.
func linkOrCopy(dst, src string) error {
	if os.Link(src, dst) == nil {
		return nil
	}
	return CopyFile(dst, src)
}

// CopyWAL copies the segments and history files of a data directory's pg_wal into a new folder, which it
// returns: the archive of a stopped or idle server.
func (p *Postgres) CopyWAL() string {
	p.t.Helper()
	return archive(p.t, ServerDir(p.t), filepath.Join(p.Data, "pg_wal"), CopyFile)
}
