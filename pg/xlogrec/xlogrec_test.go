package xlogrec

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// le packs numbers little-endian by their width.
func le(fields ...any) (b []byte) {
	for _, f := range fields {
		if s, ok := f.(string); ok {
			b = append(b, s...)
			continue
		}
		b, _ = binary.Append(b, binary.LittleEndian, f)
	}
	return b
}

func TestVMClearOfEveryFormat(t *testing.T) {
	for name, c := range map[string]struct {
		v    pg.Version
		f    pg.Flavour
		rmgr pg.Rmgr
		info uint8
		at   int // of the flag byte
		set  uint8
		want VMClear
	}{
		"insert":              {pg.V15, pg.Stock, pg.RmHeap, 0x80, 2, 1, VMClear{New: true, Flags: 3}},
		"delete":              {pg.V17, pg.Stock, pg.RmHeap, 0x10, 7, 1, VMClear{New: true, Flags: 3}},
		"delete, Neon 15":     {pg.V15, pg.Neon, pg.RmHeap, 0x10, 13, 1, VMClear{New: true, Flags: 3}},
		"delete, Neon 17":     {pg.V17, pg.Neon, pg.RmHeap, 0x10, 7, 1, VMClear{New: true, Flags: 3}},
		"update, old":         {pg.V15, pg.Stock, pg.RmHeap, 0x20, 7, 1, VMClear{Old: true, Flags: 3}},
		"update, new":         {pg.V15, pg.Neon, pg.RmHeap, 0xA0, 7, 2, VMClear{New: true, Flags: 3}},
		"hot update":          {pg.V14, pg.Stock, pg.RmHeap, 0x40, 7, 3, VMClear{New: true, Old: true, Flags: 3}},
		"lock":                {pg.V16, pg.Stock, pg.RmHeap, 0x60, 7, 1, VMClear{Old: true, Flags: 2}},
		"lock, Neon 14":       {pg.V14, pg.Neon, pg.RmHeap, 0x60, 13, 1, VMClear{Old: true, Flags: 2}},
		"truncate":            {pg.V15, pg.Stock, pg.RmHeap, 0x30, 0, 255, VMClear{}},
		"multi insert":        {pg.V15, pg.Stock, pg.RmHeap2, 0xD0, 0, 1, VMClear{New: true, Flags: 3}},
		"lock updated":        {pg.V15, pg.Neon, pg.RmHeap2, 0x60, 7, 1, VMClear{Old: true, Flags: 2}},
		"visible":             {pg.V15, pg.Stock, pg.RmHeap2, 0x40, 4, 255, VMClear{}},
		"rmgr 134 insert":     {pg.V17, pg.Neon, pg.RmNeon, 0x00, 2, 1, VMClear{New: true, Flags: 3}},
		"rmgr 134 hot update": {pg.V17, pg.Neon, pg.RmNeon, 0x30, 7, 3, VMClear{New: true, Old: true, Flags: 3}},
		"rmgr 134 lock":       {pg.V16, pg.Neon, pg.RmNeon, 0x40, 11, 1, VMClear{Old: true, Flags: 2}},
		"rmgr 134 multi":      {pg.V16, pg.Neon, pg.RmNeon, 0xD0, 0, 1, VMClear{New: true, Flags: 3}},
	} {
		main := make([]byte, 14)
		main[c.at] = c.set
		got, err := ParseVMClear(c.v, c.f, c.rmgr, c.info, main)
		require.NoError(t, err, name)
		require.Equal(t, c.want.New, got.New, name)
		require.Equal(t, c.want.Old, got.Old, name)
		if got.New || got.Old {
			require.Equal(t, c.want.Flags, got.Flags, name)
			_, err = ParseVMClear(c.v, c.f, c.rmgr, c.info, main[:c.at])
			require.ErrorIs(t, err, ErrMalformed, name)
		}
	}
}

func TestDBaseOperations(t *testing.T) {
	require.Equal(t, []DBaseOp{DBaseFileCopy, DBaseDrop, DBaseUnknown},
		[]DBaseOp{DBaseOperation(pg.V14, 0), DBaseOperation(pg.V14, 0x10), DBaseOperation(pg.V14, 0x20)})
	require.Equal(t, []DBaseOp{DBaseFileCopy, DBaseWALLog, DBaseDrop, DBaseUnknown},
		[]DBaseOp{DBaseOperation(pg.V15, 0), DBaseOperation(pg.V15, 0x10), DBaseOperation(pg.V15, 0x20), DBaseOperation(pg.V15, 0x30)})
}

func TestXactEndParts(t *testing.T) {
	// Statistics exist since 15 only; the bit means nothing before.
	main := le(int64(7), uint32(0x104|0x20), uint32(1), uint32(1663), uint32(5), uint32(16384), uint32(1), uint32(1), uint64(2), uint64(0x123), int64(9))
	x, err := ParseXactEnd(pg.V15, 0x80, main)
	require.NoError(t, err)
	require.Equal(t, int64(7), x.Time)
	require.Equal(t, page.RelTag{Spc: 1663, DB: 5, Rel: 16384}, x.Rels.At(0))
	require.Equal(t, page.LSN(0x123), x.OriginLSN)
	_, err = ParseXactEnd(pg.V15, 0x80, main[:len(main)-1])
	require.ErrorIs(t, err, ErrMalformed)
	x, err = ParseXactEnd(pg.V15, 0, main[:8])
	require.NoError(t, err)
	require.Zero(t, x.Rels.Len()+x.Subxacts.Len())
	_, err = ParseXactEnd(pg.V15, 0x80, le(int64(7), uint32(0x90), uint32(5), "no end"))
	require.ErrorIs(t, err, ErrMalformed)
}

// Whatever the bytes, the parsers refuse or give what lies inside the record.
func FuzzParsers(f *testing.F) {
	f.Add(uint8(0x80), le(int64(7), uint32(0xFF), uint32(5), uint32(1663), uint32(1), uint32(9), uint32(0), uint32(0), uint32(0), uint32(3), "gid\x00", uint64(1), int64(2)))
	f.Add(uint8(0x10), le(uint32(0x57F94534), uint32(80), uint32(9), uint32(5), int64(0), uint32(10), uint32(1), uint64(0), uint64(0), uint32(0), uint16(0), uint16(3), uint64(0), int64(0), "gid\x00\x00\x00\x00\x00", uint32(10)))
	f.Add(uint8(0x20), le(uint32(5), uint32(0), uint32(1), uint32(7), uint32(1)))
	f.Add(uint8(0x00), le(uint32(16400), "/some/where\x00"))
	f.Add(uint8(0x10), le(uint32(1), uint32(1), uint32(0), uint32(20), uint32(10), uint32(19), uint32(10), uint32(11)))
	f.Add(uint8(0x00), le(uint32(5), uint32(0), uint64(3), uint64(1), "ab\x00c"))
	f.Fuzz(func(t *testing.T, info uint8, main []byte) {
		for _, v := range []pg.Version{pg.V14, pg.V15, pg.V16, pg.V17} {
			if x, err := ParseXactEnd(v, info, main); err == nil {
				for i := range x.Subxacts.Len() {
					x.Subxacts.At(i)
				}
				for i := range x.Rels.Len() {
					x.Rels.At(i)
				}
			}
			if p, err := ParsePrepare(v, main); err == nil {
				require.LessOrEqual(t, 4*p.Subxacts.Len(), len(main))
			}
			for _, flavour := range []pg.Flavour{pg.Stock, pg.Neon} {
				for _, r := range []pg.Rmgr{pg.RmHeap, pg.RmHeap2, pg.RmNeon} {
					_, _ = ParseVMClear(v, flavour, r, info, main)
				}
			}
			_, _ = ParseZeroPage(v, main)
			_, _ = ParseClogTruncate(v, main)
			_, _ = ParseCommitTsTruncate(v, main)
			_, _ = ParseEndOfRecovery(v, main)
			if m, err := ParseRelMap(v, main); err == nil {
				require.Len(t, m.File, RelMapSize(v))
			}
			_, _ = ParseDBaseCreate(DBaseOperation(v, info), main)
		}
		if a, err := ParseAssignment(main); err == nil {
			require.LessOrEqual(t, 4*a.Subxacts.Len(), len(main))
		}
		if rel, err := ParseSmgrCreate(main); err == nil {
			require.LessOrEqual(t, rel.Fork, page.ForkInit)
		}
		_, _ = ParseSmgrTruncate(main)
		if d, err := ParseDBaseDrop(main); err == nil {
			require.LessOrEqual(t, 4*d.Spcs.Len(), len(main))
		}
		_, _, _ = ParseTblspc(info&0x10, main)
		if m, err := ParseMultiXactCreate(main); err == nil {
			for i := range m.Members.Len() {
				require.LessOrEqual(t, m.Members.At(i).Status, uint32(maxMemberStatus))
			}
		}
		_, _ = ParseMultiXactTruncate(main)
		_, _ = ParseNextOID(main)
		_, _ = ParseFPWChange(main)
		_, _ = ParseCheckpointRedo(main)
		if x, err := ParseRunningXacts(main); err == nil {
			require.LessOrEqual(t, 4*x.Xids.Len(), len(main))
		}
		_, _ = ParseOriginSet(main)
		_, _ = ParseOriginDrop(main)
		if m, err := ParseLogicalMessage(main); err == nil {
			require.LessOrEqual(t, len(m.Prefix)+len(m.Content), len(main))
		}
	})
}
