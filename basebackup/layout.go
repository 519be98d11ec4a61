package basebackup

import (
	"fmt"
	"path"
	"strings"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// directories are those that initdb makes (bin/initdb/initdb.c) and a server does not start, or does not
// checkpoint, without. Parents come first. Those of databases follow with their files.
var directories = []string{
	"base",
	"global",
	"pg_commit_ts",
	"pg_dynshmem",
	"pg_logical",
	"pg_logical/mappings",
	"pg_logical/snapshots",
	"pg_multixact",
	"pg_multixact/members",
	"pg_multixact/offsets",
	"pg_notify",
	"pg_replslot",
	"pg_serial",
	"pg_snapshots",
	"pg_stat",
	"pg_stat_tmp",
	"pg_subtrans",
	"pg_tblspc",
	"pg_twophase",
	"pg_wal",
	"pg_wal/archive_status",
	"pg_xact",
}

// summariesDir holds WAL summaries, from PostgreSQL 17 on.
const summariesDir = "pg_wal/summaries"

const (
	controlFilePath = "global/pg_control"
	originsPath     = "pg_logical/replorigin_checkpoint"
	relMapName      = "pg_filenode.map"
	versionName     = "PG_VERSION"
)

// databaseDir is where the files of a database's relations in a tablespace are. A user tablespace is a plain
// directory in place of PostgreSQL's symbolic link.
func databaseDir(v pg.Version, spc, db uint32) string {
	switch spc {
	case pg.GlobalTablespace:
		return "global"
	case pg.DefaultTablespace:
		return fmt.Sprintf("base/%d", db)
	}
	return fmt.Sprintf("%s/%d", tablespaceDir(v, spc), db)
}

// tablespaceDir is the directory of one version's files within a user tablespace
// (TABLESPACE_VERSION_DIRECTORY).
func tablespaceDir(v pg.Version, spc uint32) string {
	return fmt.Sprintf("pg_tblspc/%d/PG_%d_%d", spc, v, v.CatalogVersion())
}

// relFileName is the name of a file of a relation's fork, without its directory. Files after the first have
// their number behind a dot.
func relFileName(rel page.RelTag, segment uint32) string {
	name := fmt.Sprintf("%d", rel.Rel)
	if rel.Fork != page.ForkMain {
		name += "_" + rel.Fork.String()
	}
	if segment > 0 {
		name += fmt.Sprintf(".%d", segment)
	}
	return name
}

// twoPhaseName is the name of a prepared transaction's state file; since 17 it has the full transaction id.
func twoPhaseName(v pg.Version, xid uint64) string {
	if v >= pg.V17 {
		return fmt.Sprintf("pg_twophase/%016X", xid)
	}
	return fmt.Sprintf("pg_twophase/%08X", xid)
}

// filled are the first parts of paths that the backup fills in from what it knows itself. A file that was
// kept under its path (an auxiliary or a cluster file) cannot be in one of them.
var filled = map[string]bool{
	"base": true, "global": true, "pg_commit_ts": true, "pg_dynshmem": true, "pg_multixact": true,
	"pg_notify": true, "pg_serial": true, "pg_snapshots": true, "pg_subtrans": true, "pg_tblspc": true,
	"pg_twophase": true, "pg_wal": true, "pg_xact": true, versionName: true,
	// A server that finds one of these does something else than start from the control file.
	"backup_label": true, "backup_label.old": true, "tablespace_map": true, "tablespace_map.old": true,
	"recovery.signal": true, "standby.signal": true, "postmaster.pid": true, "postmaster.opts": true,
}

// checkKeptPath refuses a path that leads out of the data directory or into what the backup fills in. Paths
// of auxiliary files come out of the WAL: whoever may write to the database chooses them.
func checkKeptPath(p string) error {
	first, _, _ := strings.Cut(p, "/")
	switch {
	case p == "" || p != path.Clean(p) || path.IsAbs(p) || first == ".." || p == "." || strings.ContainsRune(p, 0):
		return fmt.Errorf("path %q does not lie in the data directory", p)
	case filled[first]:
		return fmt.Errorf("path %q would replace a file of the backup's own", p)
	}
	return nil
}
