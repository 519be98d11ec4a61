package basebackup

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/pg"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// withCRC appends the CRC-32C of b, as the files of pg_twophase and pg_logical end.
func withCRC(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// writeTwoPhase writes the states of prepared transactions.
func (b *backup) writeTwoPhase() error {
	xids, err := b.snap.TwoPhase(b.ctx)
	if err != nil {
		return err
	}
	if xids, err = b.preparedBefore(xids); err != nil {
		return err
	}
	for _, xid := range xids {
		state, err := b.snap.TwoPhaseState(b.ctx, xid)
		if err != nil {
			return err
		}
		// A copy, as the CRC must not go into what the reader may share.
		if err := b.out.file(twoPhaseName(b.o.Version, xid), withCRC(append([]byte(nil), state...))); err != nil {
			return err
		}
	}
	return nil
}

// originsMagic begins pg_logical/replorigin_checkpoint (replication/logical/origin.c).
const originsMagic = 0x1257DADE

// writeOrigins writes how far replication origins are, if there are any: a magic number, 16 bytes for each
// (id u16, 6 unused, LSN u64), a CRC; all little-endian.
func (b *backup) writeOrigins() error {
	if len(b.origins) == 0 {
		return nil
	}
	le := binary.LittleEndian
	f := le.AppendUint32(nil, originsMagic)
	for _, o := range b.origins {
		f = le.AppendUint64(f, uint64(o.ID))
		f = le.AppendUint64(f, uint64(o.LSN))
	}
	return b.out.keptFile(originsPath, withCRC(f))
}

// Auxiliary files that a backup leaves out: replication slots, since the WAL that they hold back is not in
// it; statistics, which belong to the moment of a real shutdown; origins, which have values of their own.
func leftOut(path string) bool {
	return strings.HasPrefix(path, slotDir) || strings.HasPrefix(path, "pg_stat/") || path == originsPath
}

func (b *backup) writeAuxFiles() error {
	files, err := b.snap.AuxFiles(b.ctx)
	if err != nil {
		return err
	}
	for _, f := range files {
		if leftOut(f.Path) {
			continue
		}
		if err := b.writeAux(f); err != nil {
			return err
		}
	}
	return nil
}

func (b *backup) writeAux(f datadir.File) error {
	if err := checkKeptPath(f.Path); err != nil {
		return fmt.Errorf("auxiliary file: %w", err)
	}
	if err := b.out.keptFile(f.Path, f.Content); err != nil {
		return fmt.Errorf("auxiliary file: %w", err)
	}
	return nil
}

// writeTablespaces makes the directories of user tablespaces, also of those without relations. A tablespace
// of the source that only a database's directory tells of gets its directory there.
func (b *backup) writeTablespaces() error {
	spaces, err := b.snap.Tablespaces(b.ctx)
	if err != nil {
		return err
	}
	for _, t := range spaces {
		if t.OID == pg.DefaultTablespace || t.OID == pg.GlobalTablespace {
			return fmt.Errorf("%w: tablespace %d has a path", datadir.ErrCorrupt, t.OID)
		}
		if err := b.out.dir(tablespaceDir(b.o.Version, t.OID)); err != nil {
			return err
		}
	}
	return nil
}
