package basebackup

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/wal"
)

var relName = regexp.MustCompile(`^(\d+)(_fsm|_vm|_init)?(\.(\d+))?$`)

// loadDir reads a cleanly stopped cluster into a model, without any help of the packages that import one.
// It gives the LSN behind the shutdown checkpoint.
func loadDir(t testing.TB, v pg.Version, dir string) (*model, page.LSN) {
	m := newModel().empty(v)
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		return b
	}
	control := read("global/pg_control")
	m.put(page.ControlFileKey, control)
	m.put(page.CheckpointKey, control[40:128])
	loadDatabase(t, m, filepath.Join(dir, "global"), pg.GlobalTablespace, 0)
	for _, db := range list(t, filepath.Join(dir, "base")) {
		loadDatabase(t, m, filepath.Join(dir, "base", db), pg.DefaultTablespace, number(t, db))
	}
	for _, spc := range list(t, filepath.Join(dir, "pg_tblspc")) {
		m.putFile(page.ClusterFileKey("pg_tblspc/"+spc), "pg_tblspc/"+spc, "/somewhere")
		sub := filepath.Join(dir, "pg_tblspc", spc, filepath.Base(tablespaceDir(v, 1)))
		for _, db := range list(t, sub) {
			loadDatabase(t, m, filepath.Join(sub, db), number(t, spc), number(t, db))
		}
	}
	for _, kind := range page.SLRUs {
		for _, name := range list(t, filepath.Join(dir, kind.String())) {
			n, err := strconv.ParseUint(name, 16, 32)
			require.NoError(t, err)
			m.putSLRU(kind, uint32(n), blocks(read(kind.String()+"/"+name))...)
		}
	}
	var xids []uint64
	for _, name := range list(t, filepath.Join(dir, "pg_twophase")) {
		xid, err := strconv.ParseUint(name, 16, 64)
		require.NoError(t, err)
		state := read("pg_twophase/" + name)
		m.put(page.TwoPhaseKey(xid), state[:len(state)-4])
		xids = append(xids, xid)
	}
	m.put(page.TwoPhaseDirKey, datadir.EncodeTwoPhase(v, xids))
	for _, name := range []string{"postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_ident.conf"} {
		m.putFile(page.ClusterFileKey(name), name, string(read(name)))
	}
	origins := read(originsPath)
	for b := origins[4 : len(origins)-4]; len(b) > 0; b = b[16:] {
		m.put(page.OriginKey(binary.LittleEndian.Uint16(b)), binary.BigEndian.AppendUint64(nil, binary.LittleEndian.Uint64(b[8:])))
	}
	start := page.LSN(binary.LittleEndian.Uint64(control[32:]))
	segSize := binary.LittleEndian.Uint32(control[228:])
	end := wal.ShutdownCheckpointEnd(start, segSize)
	m.putRecord(start, end)
	return m, end
}

func loadDatabase(t testing.TB, m *model, dir string, spc, db uint32) {
	relmap, _ := os.ReadFile(filepath.Join(dir, relMapName))
	m.putDatabase(spc, db, relmap)
	sizes := make(map[page.RelTag]uint32)
	for _, name := range list(t, dir) {
		p := relName.FindStringSubmatch(name)
		if p == nil {
			continue
		}
		rel := page.RelTag{Spc: spc, DB: db, Rel: number(t, p[1])}
		rel.Fork = map[string]page.Fork{"": page.ForkMain, "_fsm": page.ForkFSM, "_vm": page.ForkVM, "_init": page.ForkInit}[p[2]]
		first := uint32(0)
		if p[4] != "" {
			first = number(t, p[4]) * pg.RelSegBlocks
		}
		b, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		for i, blk := range blocks(b) {
			m.put(rel.Block(first+uint32(i)), blk)
		}
		sizes[rel] = max(sizes[rel], first+uint32(len(b)/pg.BlockSize))
	}
	var forks []datadir.RelFork
	for rel, n := range sizes {
		m.put(rel.SizeKey(), datadir.EncodeSize(n))
		forks = append(forks, datadir.RelFork{Rel: rel.Rel, Fork: uint8(rel.Fork)})
	}
	m.put(page.RelDirKey(spc, db), datadir.EncodeRelations(forks))
}

func blocks(b []byte) (out [][]byte) {
	for len(b) >= pg.BlockSize {
		out, b = append(out, b[:pg.BlockSize:pg.BlockSize]), b[pg.BlockSize:]
	}
	return out
}

func list(t testing.TB, dir string) (names []string) {
	es, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range es {
		if !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names
}

func number(t testing.TB, s string) uint32 {
	n, err := strconv.ParseUint(s, 10, 32)
	require.NoError(t, err)
	return uint32(n)
}
