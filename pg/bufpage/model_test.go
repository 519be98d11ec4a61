package bufpage

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stratapg/strata/pg"
)

// Random operations of an index page against a list of items.
func TestIndexPageModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Page(make([]byte, pg.BlockSize))
		p.Init(16)
		var model [][]byte
		drawItem := func(t *rapid.T) []byte {
			return item(rapid.Byte().Draw(t, "byte"), rapid.IntRange(1, 300).Draw(t, "size"))
		}
		drawNumber := func(t *rapid.T) int {
			if len(model) == 0 {
				t.Skip("empty")
			}
			return rapid.IntRange(1, len(model)).Draw(t, "number")
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				it, n := drawItem(t), rapid.IntRange(1, len(model)+1).Draw(t, "number")
				fits := Align(len(it))+ItemIDSize <= p.FreeSpace()
				_, err := p.AddItem(it, n, 0)
				require.Equal(t, fits, err == nil)
				if fits {
					model = append(model[:n-1:n-1], append([][]byte{it}, model[n-1:]...)...)
				}
			},
			"overwrite": func(t *rapid.T) {
				n, it := drawNumber(t), drawItem(t)
				fits := Align(len(it))-Align(len(model[n-1])) <= p.FreeSpace()
				require.Equal(t, fits, p.IndexTupleOverwrite(n, it) == nil)
				if fits {
					model[n-1] = it
				}
			},
			"delete": func(t *rapid.T) {
				n := drawNumber(t)
				require.NoError(t, p.IndexTupleDelete(n))
				model = append(model[:n-1:n-1], model[n:]...)
			},
			"delete many": func(t *rapid.T) {
				var numbers []uint16
				var left [][]byte
				for i := range model {
					if rapid.Bool().Draw(t, "goes") {
						numbers = append(numbers, uint16(i+1))
					} else {
						left = append(left, model[i])
					}
				}
				require.NoError(t, p.IndexMultiDelete(numbers))
				model = left
			},
			"": func(t *rapid.T) {
				require.NoError(t, p.Check())
				require.Equal(t, len(model), p.MaxOffset())
				size := 0
				for i, want := range model {
					got, err := p.Item(i + 1)
					require.NoError(t, err)
					require.Equal(t, want, got)
					size += Align(len(want))
				}
				require.Equal(t, p.SpecialOffset()-size, p.Upper())
			},
		})
	})
}

// Random additions and removals on a heap page, with the line pointers staying where they are.
func TestHeapPageModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Page(make([]byte, pg.BlockSize))
		p.Init(0)
		model := map[int][]byte{}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				it := item(rapid.Byte().Draw(t, "byte"), rapid.IntRange(24, 900).Draw(t, "size"))
				if n, err := p.AddItem(it, 0, Heap); err == nil {
					require.NotContains(t, model, n)
					model[n] = it
				}
			},
			"prune": func(t *rapid.T) {
				for n := 1; n <= p.MaxOffset(); n++ {
					if rapid.Bool().Draw(t, "goes") {
						require.NoError(t, p.SetItemID(n, 0))
						delete(model, n)
					}
				}
				require.NoError(t, p.RepairFragmentation(rapid.Bool().Draw(t, "truncate")))
			},
			"truncate": func(t *rapid.T) { require.NoError(t, p.TruncateLines()) },
			"": func(t *rapid.T) {
				require.NoError(t, p.Check())
				used := 0
				for n := 1; n <= p.MaxOffset(); n++ {
					if want, ok := model[n]; ok {
						got, err := p.Item(n)
						require.NoError(t, err)
						require.Equal(t, want, got)
						used++
					}
				}
				require.Len(t, model, used)
			},
		})
	})
}

// No operation panics on any page.
func FuzzOperations(f *testing.F) {
	p := Page(make([]byte, pg.BlockSize))
	p.Init(16)
	for i := range 20 {
		if _, err := p.AddItem(item(byte(i), 20+i), 0, 0); err != nil {
			f.Fatal(err)
		}
	}
	f.Add([]byte(p[:200]), uint16(3), uint16(5), uint16(20), uint8(0))
	f.Add([]byte{}, uint16(1), uint16(2), uint16(20), uint8(4))
	f.Fuzz(func(t *testing.T, head []byte, a, b, size uint16, op uint8) {
		p := Page(make([]byte, pg.BlockSize))
		p.Init(16)
		copy(p, head)
		before := append([]byte(nil), p...)
		tuple := make([]byte, size%9000)
		var err error
		switch op % 10 {
		case 0:
			_, err = p.AddItem(tuple, int(a), AddFlags(b&3))
		case 1:
			err = p.RepairFragmentation(b&1 != 0)
		case 2:
			err = p.TruncateLines()
		case 3:
			err = p.IndexTupleDelete(int(a))
		case 4:
			err = p.IndexTupleDeleteNoCompact(int(a))
		case 5:
			err = p.IndexTupleOverwrite(int(a), tuple)
		case 6:
			err = p.IndexMultiDelete([]uint16{a, b, size})
		case 7:
			err = Page(make([]byte, pg.BlockSize)).InitLike(p)
		case 8:
			_, err = p.Item(int(a))
		case 9:
			err = p.SetItemID(int(a), ItemID(b))
		}
		if err != nil && op%10 != 0 {
			require.Equal(t, before, []byte(p), "changed though refused")
		}
		_, _ = p.Special()
		_ = p.Check()
		_ = Checksum(p, uint32(a))
	})
}

func BenchmarkChecksum(b *testing.B) {
	p := Page(make([]byte, pg.BlockSize))
	p.Init(0)
	b.SetBytes(pg.BlockSize)
	for b.Loop() {
		Checksum(p, 1)
	}
}
