package control_test

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/control"
)

// plain is a control file of PostgreSQL 16 with every byte that has no fixed value set to 0xA5.
func plain() []byte {
	b := make([]byte, control.FileSize)
	for i := range 288 {
		b[i] = 0xA5
	}
	le := binary.LittleEndian
	le.PutUint32(b[8:], 1300)
	le.PutUint32(b[12:], pg.V16.CatalogVersion())
	le.PutUint32(b[204:], 8)
	le.PutUint64(b[208:], math.Float64bits(1234567))
	for i, v := range []uint32{8192, 131072, 8192, 16 << 20, 64} {
		le.PutUint32(b[216+4*i:], v)
	}
	return seal(b)
}

func seal(b []byte) []byte {
	binary.LittleEndian.PutUint32(b[288:], crc32.Checksum(b[:288], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

func TestRefusedFiles(t *testing.T) {
	le := binary.LittleEndian
	for name, c := range map[string]struct {
		change func(b []byte) []byte
		kind   error
		says   string
	}{
		"cut":                    {func(b []byte) []byte { return b[:200] }, nil, "200 bytes"},
		"empty":                  {func(b []byte) []byte { return nil }, nil, "0 bytes"},
		"a flipped bit":          {func(b []byte) []byte { b[100] ^= 1; return b }, control.ErrChecksum, "checksum"},
		"version 18":             {func(b []byte) []byte { le.PutUint32(b[8:], 1800); return seal(b) }, pg.ErrUnsupportedVersion, "1800"},
		"the other byte order":   {func(b []byte) []byte { binary.BigEndian.PutUint32(b[8:], 1300); return seal(b) }, pg.ErrUnsupportedVersion, "byte order"},
		"an unknown catalog":     {func(b []byte) []byte { le.PutUint32(b[12:], 202307072); return seal(b) }, pg.ErrUnsupportedVersion, "202307072"},
		"versions at odds":       {func(b []byte) []byte { le.PutUint32(b[8:], 1700); return seal(b) }, nil, "does not go with"},
		"another block size":     {func(b []byte) []byte { le.PutUint32(b[216:], 4096); return seal(b) }, nil, "block size 4096"},
		"another file size":      {func(b []byte) []byte { le.PutUint32(b[220:], 1024); return seal(b) }, nil, "blocks per relation segment 1024"},
		"another WAL block size": {func(b []byte) []byte { le.PutUint32(b[224:], 65536); return seal(b) }, nil, "WAL block size 65536"},
		"an odd segment size":    {func(b []byte) []byte { le.PutUint32(b[228:], 3<<20); return seal(b) }, nil, "segment size 3145728"},
		"another alignment":      {func(b []byte) []byte { le.PutUint32(b[204:], 4); return seal(b) }, nil, "alignment 4"},
		"other floating point":   {func(b []byte) []byte { b[208] = 1; return seal(b) }, nil, "floating-point"},
	} {
		_, err := control.Parse(c.change(plain()))
		require.ErrorContains(t, err, c.says, name)
		if c.kind != nil {
			require.ErrorIs(t, err, c.kind, name)
		}
	}
}

// A change touches the bytes of its field and the CRC, nothing else.
func TestChangesKeepTheRest(t *testing.T) {
	var cp control.CheckPoint
	for i := range cp {
		cp[i] = byte(i)
	}
	for name, c := range map[string]struct {
		change   func(f *control.File)
		from, to int
	}{
		"nothing":    {func(f *control.File) {}, 0, 0},
		"state":      {func(f *control.File) { f.SetState(control.InProduction) }, 16, 20},
		"time":       {func(f *control.File) { f.SetTime(5) }, 24, 32},
		"checkpoint": {func(f *control.File) { f.SetCheckPointLSN(7) }, 32, 40},
		"copy":       {func(f *control.File) { f.SetCheckPoint(cp) }, 40, 128},
		"unlogged":   {func(f *control.File) { f.SetUnloggedLSN(1000) }, 128, 136},
		"recovery":   {func(f *control.File) { f.SetMinRecoveryPoint(1, 2) }, 136, 148},
		"backup":     {func(f *control.File) { f.ClearBackup() }, 152, 169},
		"settings":   {func(f *control.File) { f.SetSettings(control.Settings{MaxConnections: 1}) }, 172, 201},
		"checksums":  {func(f *control.File) { f.SetChecksumVersion(0) }, 252, 256},
	} {
		b := plain()
		f, err := control.Parse(b)
		require.NoError(t, err)
		c.change(f)
		out := f.Encode()
		again, err := control.Parse(out)
		require.NoError(t, err, name)
		require.Equal(t, f.CheckPoint(), again.CheckPoint())
		for i := range b {
			if (i < c.from || i >= c.to) && (i < 288 || i >= 292) {
				require.Equal(t, b[i], out[i], "%s: byte %d", name, i)
			}
		}
	}
}

func TestSettingsRoundTrip(t *testing.T) {
	want := control.Settings{WALLevel: control.Logical, WALLogHints: true, MaxConnections: 1, MaxWorkerProcesses: 2, MaxWALSenders: 3,
		MaxPreparedXacts: 4, MaxLocksPerXact: 5, TrackCommitTimestamp: true}
	f, err := control.Parse(plain())
	require.NoError(t, err)
	f.SetSettings(want)
	require.Equal(t, want, f.Settings())

	rec := make([]byte, 28)
	for i, v := range []uint32{1, 2, 3, 4, 5, 2} {
		binary.LittleEndian.PutUint32(rec[4*i:], v)
	}
	rec[24], rec[25] = 1, 1
	got, err := control.ParseParameterChange(rec)
	require.NoError(t, err)
	require.Equal(t, want, got)
	_, err = control.ParseParameterChange(rec[:20])
	require.Error(t, err)
}

func TestCheckPointFields(t *testing.T) {
	var c control.CheckPoint
	for i := range c {
		c[i] = 0xA5
	}
	c.SetRedo(0x123)
	c.SetTimeline(2)
	c.SetPrevTimeline(3)
	c.SetFullPageWrites(true)
	c.SetWALLevel(control.Minimal)
	c.SetNextXid(1<<32 | 5)
	c.SetNextOid(6)
	c.SetNextMulti(7)
	c.SetNextMultiOffset(8)
	c.SetOldestXid(9)
	c.SetOldestXidDB(10)
	c.SetOldestMulti(11)
	c.SetOldestMultiDB(12)
	c.SetTime(-13)
	c.SetOldestCommitTsXid(14)
	c.SetNewestCommitTsXid(15)
	c.SetOldestActiveXid(16)
	got, err := control.ParseCheckPoint(append(c[:], 1, 2))
	require.NoError(t, err)
	require.Equal(t, page.LSN(0x123), got.Redo())
	require.Equal(t, uint64(1<<32|5), got.NextXid())
	require.Equal(t, int64(-13), got.Time())
	require.True(t, got.FullPageWrites())
	require.Equal(t, control.Minimal, got.WALLevel())
	require.Equal(t, []uint32{2, 3, 6, 7, 8, 9, 10, 11, 12, 14, 15, 16}, []uint32{got.Timeline(), got.PrevTimeline(), got.NextOid(), got.NextMulti(),
		got.NextMultiOffset(), got.OldestXid(), got.OldestXidDB(), got.OldestMulti(), got.OldestMultiDB(), got.OldestCommitTsXid(), got.NewestCommitTsXid(), got.OldestActiveXid()})
	for _, padding := range []int{17, 18, 19, 60, 61, 62, 63, 84, 85, 86, 87} {
		require.Equal(t, byte(0xA5), got[padding], padding)
	}
	_, err = control.ParseCheckPoint(c[:87])
	require.Error(t, err)
}

func FuzzParse(f *testing.F) {
	f.Add(plain())
	f.Add(plain()[:296])
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := control.Parse(b)
		if err != nil && len(b) >= 292 { // with the CRC right, more is looked at
			file, err = control.Parse(seal(append([]byte(nil), b...)))
		}
		if err != nil {
			return
		}
		again, err := control.Parse(file.Encode())
		require.NoError(t, err)
		require.Equal(t, file, again)
		_, _ = file.ShutdownCheckpointEnd(), file.Settings()
	})
}
