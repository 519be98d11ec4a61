package ingest

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/ingest/source"
)

// spaceDir is the folder of a tablespace in which the server of this very version keeps its files: its name has the
// version and the number of the system catalogs.
func (d *DataDir) spaceDir(oid uint32) string {
	return "pg_tblspc/" + strconv.FormatUint(uint64(oid), 10) + "/PG_" + strconv.Itoa(int(d.Version)) + "_" + strconv.FormatUint(uint64(d.Control.CatalogVersion()), 10)
}

// scanTablespaces finds the user tablespaces, and where they lay. A tablespace whose files are not there is refused by
// name.
func (d *DataDir) scanTablespaces(ctx context.Context) error {
	paths, err := d.tablespaceMap(ctx)
	if err != nil {
		return err
	}
	entries, _ := d.files.in("pg_tblspc")
	for _, e := range entries {
		oid, ok := parseOID(path.Base(e.Path))
		if !ok {
			d.ignore(e.Path)
			continue
		}
		if e.Kind == source.Link {
			paths[oid] = e.Target
		} else if _, ok := paths[oid]; !ok {
			paths[oid] = "" // in place
		}
	}
	for oid, where := range paths {
		if _, ok := d.files.in(d.spaceDir(oid)); !ok {
			return refuse(d.Dir, "pg_tblspc/"+strconv.FormatUint(uint64(oid), 10),
				"the files of this tablespace (at %q) are not there: there is no %s. Give the tar of the tablespace too, or move its tables and databases to pg_default and drop it before the import", where, d.spaceDir(oid))
		}
		if !path.IsAbs(where) {
			where = "pg_tblspc/" + strconv.FormatUint(uint64(oid), 10) // in place, which a server of this cluster may be told by the path
		}
		d.spaces = append(d.spaces, datadir.Tablespace{OID: oid, Path: where})
	}
	slices.SortFunc(d.spaces, func(a, b datadir.Tablespace) int { return int(int64(a.OID) - int64(b.OID)) })
	return nil
}

// tablespaceMap reads tablespace_map: a line per tablespace with its OID and path, in which a backslash stands before a
// line's end and before itself (read_tablespace_map of access/transam/xlogrecovery.c).
func (d *DataDir) tablespaceMap(ctx context.Context) (map[uint32]string, error) {
	out := map[uint32]string{}
	b, err := d.readSmall(ctx, tablespaceMapName)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	for len(b) > 0 {
		var line []byte
		for len(b) > 0 && b[0] != '\n' && b[0] != '\r' {
			if b[0] == '\\' && len(b) > 1 {
				b = b[1:]
			}
			line, b = append(line, b[0]), b[1:]
		}
		b = bytes.TrimLeft(b, "\r\n")
		name, where, ok := strings.Cut(string(line), " ")
		oid, isOID := parseOID(name)
		if !ok || !isOID {
			return nil, refuse(d.Dir, tablespaceMapName, "%.80q: want an OID and a path", line)
		}
		out[oid] = where
	}
	return out, nil
}

const slotsDir = "pg_replslot"

// auxDirs are the folders of what a server keeps beside tables for replication and statistics, and Neon's computes send
// as files of their own.
var auxDirs = []string{slotsDir, "pg_logical/mappings", "pg_logical/snapshots", "pg_stat"}

// scanSlots notes the replication slots. The WAL that a slot holds back is the server's, so a stock server's slots are
// left there, and named.
func (d *DataDir) scanSlots(context.Context) error {
	slots, _ := d.files.in(slotsDir)
	for _, e := range slots {
		if e.Kind == source.Folder && !strings.HasSuffix(e.Path, ".tmp") {
			d.Left = append(d.Left, e.Path)
		}
	}
	return nil
}

// auxFiles reads what is taken of them.
func (d *DataDir) auxFiles(ctx context.Context) ([]datadir.File, error) {
	if !d.AuxFiles {
		return nil, nil
	}
	d.Left = nil
	var out []datadir.File
	for _, dir := range auxDirs {
		entries, _ := d.files.in(dir)
		for _, e := range entries {
			name := e.Path
			if dir == slotsDir {
				name = path.Join(e.Path, "state")
			}
			if strings.HasSuffix(e.Path, ".tmp") || dir != slotsDir && e.Kind != source.Regular {
				continue
			}
			b, err := d.readSmall(ctx, name)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if len(b) > 0 {
				out = append(out, datadir.File{Path: name, Content: b})
			}
		}
	}
	return out, nil
}
