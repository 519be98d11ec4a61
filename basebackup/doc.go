// Package basebackup writes a whole cluster as of an LSN as a tar archive: for a stock PostgreSQL of the
// cluster's version, which starts from it; for a standby of the server that the WAL is from; or for a Neon
// compute (Format). docs/backups.md says when to take which.
//
// What the archive for a stock server promises:
//   - It holds the effect of exactly those WAL records that end at or before Result.LSN. Transactions that
//     were open there have no bits in the commit log, which PostgreSQL takes as aborted; prepared ones can
//     still be committed.
//   - pg_control says "shut down", and the WAL in the archive holds the shutdown checkpoint that it points
//     at: one generated record that begins where the backup's LSN is. The server neither recovers anything
//     nor needs any other WAL.
//   - The control file and the WAL are the last entries, so that an interrupted archive cannot start.
//   - Nothing is left out or zeroed because it could not be read: the backup fails and says where.
//   - The same cluster at the same LSN with the same Options gives the same bytes.
//
// With a manifest it is a backup as pg_basebackup makes them, that incremental ones can follow: a backup_label names
// the generated checkpoint, and the record of the backup's end is behind it. An incremental backup has, of relations,
// the blocks that have changed since its parent, which the indexes of layers tell (Changes); Combine makes of a chain
// what a full backup of its last LSN would be, byte for byte, and so does PostgreSQL 17's pg_combinebackup, in effect.
//
// Left out on purpose, as a server rebuilds or does not miss them: the free space map, replication slots
// (their WAL is not in the archive) and cumulative statistics.
//
// User tablespaces come out as plain directories in pg_tblspc, in place of the symbolic links of a running
// cluster. Servers of 14 to 17 start from them, use them, and recover from a crash with them. A standby of
// such a cluster wants allow_in_place_tablespaces = on, or the directory moved elsewhere and a link to it
// made, with the server stopped.
//
// Pages are read in ranges by several goroutines ahead of the writer, in order, with a bound on the memory.
// Write may be called from many goroutines at once.
package basebackup
