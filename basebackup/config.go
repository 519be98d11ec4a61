package basebackup

import (
	"fmt"
	"strings"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/pg/control"
	"github.com/stratapg/strata/pg/wal"
)

// Cluster files below these are timeline histories (pg_wal/%08X.history) and the paths of tablespaces.
const (
	walDir    = "pg_wal/"
	tblspcDir = "pg_tblspc/"
)

// writeClusterFiles gives back what was kept of the cluster: configuration as it was at the import. Of the
// files without which a server does not start, minimal ones are made where none were kept.
func (b *backup) writeClusterFiles() error {
	files, err := b.snap.ClusterFiles(b.ctx)
	if err != nil {
		return err
	}
	for _, f := range files {
		if strings.HasPrefix(f.Path, walDir) || strings.HasPrefix(f.Path, tblspcDir) {
			continue // written in their own places
		}
		if err := checkKeptPath(f.Path); err != nil {
			return fmt.Errorf("cluster file: %w", err)
		}
		if err := b.out.keptFile(f.Path, f.Content); err != nil {
			return fmt.Errorf("cluster file: %w", err)
		}
	}
	for _, f := range []datadir.File{
		{Path: "pg_hba.conf", Content: []byte(minimalHBA)},
		{Path: "pg_ident.conf"},
		{Path: "postgresql.auto.conf"},
		{Path: "postgresql.conf", Content: []byte(minimalConf(b.control.Settings(), len(b.origins)))},
	} {
		if b.out.seen[f.Path] {
			continue
		}
		if err := b.out.keptFile(f.Path, f.Content); err != nil {
			return err
		}
	}
	return nil
}

// writeHistories gives back the history of PostgreSQL's timelines up to the backup's.
func (b *backup) writeHistories() error {
	files, err := b.snap.ClusterFiles(b.ctx)
	if err != nil {
		return err
	}
	for _, f := range files {
		name, ok := strings.CutPrefix(f.Path, walDir)
		if !ok {
			continue
		}
		tli, ok := wal.ParseHistoryName(name)
		if !ok {
			return fmt.Errorf("cluster file %q is no timeline history", f.Path)
		}
		if tli > b.tli {
			continue
		}
		if err := b.out.keptFile(f.Path, f.Content); err != nil {
			return fmt.Errorf("cluster file: %w", err)
		}
	}
	return nil
}

// minimalHBA lets in who is on the machine, as initdb's own file does.
const minimalHBA = `# Made for a base backup: the cluster's own file was not kept.
# Connections from this machine are trusted, all others refused. Change this before you let anyone in.
local   all             all                                     trust
host    all             all             127.0.0.1/32            trust
host    all             all             ::1/128                 trust
`

// defaultMaxOrigins is the default of max_replication_slots, which bounds replication origins too.
const defaultMaxOrigins = 10

// minimalConf is a postgresql.conf with the parameters that pg_control knows of. With prepared transactions
// and the default max_prepared_transactions of 0 a server refuses to start, and likewise with more origins
// than places for them.
func minimalConf(c control.Settings, origins int) string {
	var s strings.Builder
	s.WriteString("# Made for a base backup: the cluster's own file was not kept. These follow its control file.\n")
	set := func(name string, v any) { fmt.Fprintf(&s, "%s = %v\n", name, v) }
	set("max_connections", c.MaxConnections)
	set("max_worker_processes", c.MaxWorkerProcesses)
	set("max_wal_senders", c.MaxWALSenders)
	set("max_prepared_transactions", c.MaxPreparedXacts)
	set("max_locks_per_transaction", c.MaxLocksPerXact)
	set("wal_level", c.WALLevel)
	set("wal_log_hints", onOff(c.WALLogHints))
	set("track_commit_timestamp", onOff(c.TrackCommitTimestamp))
	if origins > defaultMaxOrigins {
		set("max_replication_slots", origins)
	}
	return s.String()
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}
