package ingest

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/wal"
	"github.com/stratapg/strata/pg/xlogrec"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// relMap reads and checks a database's pg_filenode.map: magic, then mappings, then CRC-32C of all before it,
// then padding before 16 (RelMapFile of utils/cache/relmapper.c).
func (d *DataDir) relMap(ctx context.Context, db *dbFiles) ([]byte, error) {
	const magic = 0x592717
	name := db.dir + "/" + relMapName
	b, err := d.readSmall(ctx, name)
	if err != nil {
		return nil, err
	}
	size := xlogrec.RelMapSize(d.Version)
	crcAt := size - 4
	if d.Version < pg.V16 {
		crcAt = size - 8
	}
	switch {
	case len(b) != size:
		return nil, refuse(d.Dir, name, "has %d bytes, want %d", len(b), size)
	case binary.LittleEndian.Uint32(b) != magic:
		return nil, refuse(d.Dir, name, "is no relation map (magic %08X)", binary.LittleEndian.Uint32(b))
	case binary.LittleEndian.Uint32(b[crcAt:]) != crc32.Checksum(b[:crcAt], castagnoli):
		return nil, refuse(d.Dir, name, "checksum is wrong: the file is damaged")
	}
	return b, nil
}

// twoPhaseState reads and checks a prepared transaction's file; what is kept is without the CRC at its end.
func (d *DataDir) twoPhaseState(ctx context.Context, f twoPhaseFile) ([]byte, error) {
	b, err := d.readSmall(ctx, f.path)
	if err != nil {
		return nil, err
	}
	n := len(b) - crc32.Size
	if n < 0 || binary.LittleEndian.Uint32(b[n:]) != crc32.Checksum(b[:n], castagnoli) {
		return nil, refuse(d.Dir, f.path, "checksum is wrong: the file is damaged")
	}
	p, err := xlogrec.ParsePrepare(d.Version, b[:n])
	if err != nil {
		return nil, refuse(d.Dir, f.path, "%w", err)
	}
	if p.Xid != uint32(f.xid) {
		return nil, refuse(d.Dir, f.path, "holds transaction %d", p.Xid)
	}
	return b[:n], nil
}

const originsName = "pg_logical/replorigin_checkpoint"

// origins reads the progress of replication origins: a magic, for each origin its id (u16, padded to 8) and
// LSN (u64), CRC-32C; little-endian (replication/logical/origin.c).
func (d *DataDir) origins(ctx context.Context) ([]datadir.Origin, error) {
	const (
		magic = 0x1257DADE
		entry = 16
	)
	b, err := d.readSmall(ctx, originsName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	n := len(b) - crc32.Size
	if n < 4 || le.Uint32(b) != magic || (n-4)%entry != 0 || le.Uint32(b[n:]) != crc32.Checksum(b[:n], castagnoli) {
		return nil, refuse(d.Dir, originsName, "is damaged")
	}
	var out []datadir.Origin
	for e := b[4:n]; len(e) > 0; e = e[entry:] {
		out = append(out, datadir.Origin{ID: le.Uint16(e), LSN: page.LSN(le.Uint64(e[8:]))})
	}
	slices.SortFunc(out, func(a, b datadir.Origin) int { return int(a.ID) - int(b.ID) })
	return out, nil
}

// configFiles are kept and given back by base backups. They may be elsewhere (Debian has them in /etc).
var configFiles = []string{"postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_ident.conf"}

// clusterFiles reads what base backups give back: configuration and the histories of timelines.
func (d *DataDir) clusterFiles(ctx context.Context) ([]datadir.File, error) {
	names := slices.Clone(configFiles)
	entries, _ := d.files.in("pg_wal")
	for _, e := range entries {
		if _, ok := wal.ParseHistoryName(path.Base(e.Path)); ok {
			names = append(names, e.Path)
		}
	}
	var fs_ []datadir.File
	for _, name := range names {
		b, err := d.readSmall(ctx, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		fs_ = append(fs_, datadir.File{Path: name, Content: b})
	}
	for _, t := range d.spaces {
		fs_ = append(fs_, datadir.File{Path: datadir.TablespaceFile(t.OID), Content: []byte(t.Path)})
	}
	return fs_, nil
}

// historyFile is the cluster file that keeps a timeline's history.
func historyFile(name string) string { return "pg_wal/" + name }

// encodeByKey gives the values of files in the order of their keys; files may share one.
func encodeByKey(files []datadir.File, key func(path string) page.Key) []keyValue {
	byKey := make(map[page.Key][]datadir.File)
	for _, f := range files {
		byKey[key(f.Path)] = append(byKey[key(f.Path)], f)
	}
	var out []keyValue
	for k, fs := range byKey {
		slices.SortFunc(fs, func(a, b datadir.File) int { return strings.Compare(a.Path, b.Path) })
		out = append(out, keyValue{k, datadir.EncodeFiles(fs)})
	}
	slices.SortFunc(out, func(a, b keyValue) int { return a.key.Compare(b.key) })
	return out
}

// keyValue is a value to import.
type keyValue struct {
	key   page.Key
	value []byte
}

// metadata gives everything behind the SLRUs in the order of the keys.
func (d *DataDir) metadata(ctx context.Context) ([]keyValue, error) {
	var out []keyValue
	add := func(k page.Key, v []byte) { out = append(out, keyValue{k, v}) }
	xids := make([]uint64, len(d.twoPhase))
	for i, f := range d.twoPhase {
		xids[i] = f.xid
	}
	add(page.TwoPhaseDirKey, datadir.EncodeTwoPhase(d.Version, xids))
	for _, f := range d.twoPhase {
		b, err := d.twoPhaseState(ctx, f)
		if err != nil {
			return nil, err
		}
		add(page.TwoPhaseKey(f.xid), b)
	}
	if d.Backup == nil {
		add(page.ControlFileKey, d.rawControl)
	} else {
		add(page.ControlFileKey, d.Control.Encode())
	}
	cp := d.Control.CheckPoint()
	add(page.CheckpointKey, cp[:])
	aux, err := d.auxFiles(ctx)
	if err != nil {
		return nil, err
	}
	out = append(out, encodeByKey(aux, page.AuxKey)...)
	origins, err := d.origins(ctx)
	if err != nil {
		return nil, err
	}
	for _, o := range origins {
		add(page.OriginKey(o.ID), binary.BigEndian.AppendUint64(nil, uint64(o.LSN)))
	}
	out = append(out, d.relEntries()...)
	if d.Backup == nil {
		var index datadir.RecordIndex
		index.Add(datadir.RecordSpan{Start: d.PrevLSN, End: d.LSN})
		add(page.RecordsKey(d.LSN), index.Bytes())
	}
	files, err := d.clusterFiles(ctx)
	if err != nil {
		return nil, err
	}
	return append(out, encodeByKey(files, page.ClusterFileKey)...), nil
}

// relEntries gives each relation's own key, where relations have such.
func (d *DataDir) relEntries() (out []keyValue) {
	if d.RelDirs == page.RelDirV1 {
		return nil
	}
	for i := range d.dbs {
		for _, r := range d.dbs[i].rels {
			out = append(out, keyValue{r.rel.RelEntry(), []byte(page.RelEntryExists)})
		}
	}
	return out
}
