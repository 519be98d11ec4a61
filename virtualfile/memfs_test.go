package virtualfile

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// What was synced survives every crash; what was not is old or new, sector by sector; entries come and go
// only as a whole, a rename as one change.
func TestCrashKeepsWhatWasSynced(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := NewMem()
		synced := make([]byte, rapid.IntRange(0, 3*undoPage).Draw(t, "size"))
		for i := range synced {
			synced[i] = 'a'
		}
		require.NoError(t, WriteFileAtomic(m, "f", synced))
		f, err := m.OpenAppend("f")
		require.NoError(t, err)
		now := append([]byte(nil), synced...)
		for range rapid.IntRange(0, 3).Draw(t, "writes") {
			off := rapid.IntRange(0, len(now)).Draw(t, "off")
			p := []byte(strings.Repeat("b", rapid.IntRange(1, 2*undoPage).Draw(t, "n")))
			_, err := f.WriteAt(p, int64(off))
			require.NoError(t, err)
			now = append(now[:off], append(p, now[min(len(now), off+len(p)):]...)...)
		}
		require.NoError(t, m.Rename("f", "g"))
		require.NoError(t, m.MkdirAll("d"))
		clone := m.CrashClone(rapid.Uint64().Draw(t, "seed"))
		names, err := clone.List("/")
		require.NoError(t, err)
		names = dropDir(names)
		require.Len(t, names, 1, "a rename is one change")
		got, err := ReadFile(clone, names[0], 1<<20)
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(got), min(len(synced), len(now)))
		for i := range got {
			old, fresh := byte(0), byte(0)
			if i < len(synced) {
				old = synced[i]
			}
			if i < len(now) {
				fresh = now[i]
			}
			require.True(t, got[i] == old || got[i] == fresh, "byte %d", i)
		}
		require.NoError(t, f.Sync())
		require.NoError(t, m.SyncDir("/"))
		clone = m.CrashClone(rapid.Uint64().Draw(t, "seed"))
		all, err := ReadFile(clone, "g", 1<<20)
		require.NoError(t, err)
		require.Equal(t, string(now), string(all))
		_, err = clone.Stat("f")
		require.ErrorIs(t, err, fs.ErrNotExist)
	})
}

func dropDir(names []string) (out []string) {
	for _, n := range names {
		if n != "d" {
			out = append(out, n)
		}
	}
	return out
}

// Some seed must show each outcome, or the crash tests above prove nothing.
func TestCrashShowsBothOutcomes(t *testing.T) {
	m := NewMem()
	f, err := m.Create("f")
	require.NoError(t, err)
	require.NoError(t, m.SyncDir("/"))
	_, err = f.Write(make([]byte, 8*undoPage))
	require.NoError(t, err)
	require.NoError(t, WriteFileAtomic(m, "keep", nil))
	_, err = m.Create("g")
	require.NoError(t, err)
	seen := map[string]int{}
	for seed := range uint64(200) {
		c := m.CrashClone(seed)
		st, err := c.Stat("f")
		require.NoError(t, err)
		_, err = c.Stat("g")
		require.True(t, err == nil || errors.Is(err, fs.ErrNotExist))
		seen[fmt.Sprint("entry ", err == nil)]++
		switch st.Size {
		case 0:
			seen["none"]++
		case 8 * undoPage:
			seen["all"]++
		default:
			seen["part"]++
		}
		again, err := m.CrashClone(seed).Stat("f")
		require.NoError(t, err)
		require.Equal(t, st, again, "the seed decides")
	}
	require.Len(t, seen, 5)
}

// Each way in which a crash may treat names shows for some seed: none of three changes, all, the first ones
// of a journal, and any of them.
func TestCrashForgetsNamesInEveryWay(t *testing.T) {
	m := NewMem()
	for _, name := range []string{"a", "b", "c"} {
		f, err := m.Create(name)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	seen := map[string]bool{}
	for seed := range uint64(300) {
		names, err := m.CrashClone(seed).List("/")
		require.NoError(t, err)
		seen[strings.Join(names, "")] = true
	}
	for _, want := range []string{"", "a", "ab", "abc", "b", "c", "ac", "bc"} {
		require.True(t, seen[want], want)
	}
}

// With many changes, those before some moment survive together far more often than any lot would have it.
func TestCrashKeepsWhatAJournalHad(t *testing.T) {
	m := NewMem()
	const files = 20
	for i := range files {
		f, err := m.Create(fmt.Sprintf("%02d", i))
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	prefixes := 0
	for seed := range uint64(300) {
		names, err := m.CrashClone(seed).List("/")
		require.NoError(t, err)
		if n := len(names); n > 0 && n < files && names[n-1] == fmt.Sprintf("%02d", n-1) {
			prefixes++
		}
	}
	require.Greater(t, prefixes, 30)
}

// Once the new folder of a file that moved is synced, the old one does not have it either.
func TestCrashKeepsARenameBetweenFoldersWhole(t *testing.T) {
	m := NewMem()
	require.NoError(t, m.MkdirAll("x"))
	require.NoError(t, m.MkdirAll("y"))
	require.NoError(t, m.SyncDir("/"))
	fileWith(t, m, "x/f", []byte("1"))
	require.NoError(t, m.Rename("x/f", "y/f"))
	outcomes := map[string]bool{}
	find := func(seed uint64) (at string) {
		c := m.CrashClone(seed)
		for _, name := range []string{"x/f", "y/f"} {
			if _, err := c.Stat(name); err == nil {
				at += name
			}
		}
		return at
	}
	for seed := range uint64(50) {
		outcomes[find(seed)] = true
	}
	require.Equal(t, map[string]bool{"x/f": true, "y/f": true}, outcomes)
	require.NoError(t, m.SyncDir("y"))
	for seed := range uint64(50) {
		require.Equal(t, "y/f", find(seed))
	}
	require.NoError(t, m.Rename("y/f", "x/f"))
	require.NoError(t, m.SyncDir("y"))
	lost := false
	for seed := range uint64(50) {
		lost = lost || find(seed) == ""
	}
	require.True(t, lost, "the folder to sync first is the one with the new name")
}

func TestCapacity(t *testing.T) {
	m := NewMem()
	m.SetCapacity(4 * undoPage)
	f, err := m.Create("f")
	require.NoError(t, err)
	g, err := m.Create("g")
	require.NoError(t, err)
	_, err = g.Write([]byte("x"))
	require.NoError(t, err)
	n, err := f.Write(make([]byte, 4*undoPage))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Equal(t, 3*undoPage, n, "what fits is written")
	require.ErrorIs(t, f.Truncate(5*undoPage), syscall.ENOSPC)
	require.ErrorIs(t, allocate(f, 5*undoPage), syscall.ENOSPC)
	_, err = f.WriteAt(make([]byte, 10), 0)
	require.NoError(t, err, "no more space is needed")
	_, err = g.Write(make([]byte, undoPage-1))
	require.NoError(t, err, "the rest of its block")
	_, err = g.Write([]byte("x"))
	require.ErrorIs(t, err, syscall.ENOSPC)

	require.NoError(t, m.Remove("f"))
	require.EqualValues(t, 4*undoPage, m.Used(), "it is open")
	require.NoError(t, f.Close())
	require.EqualValues(t, undoPage, m.Used())
	require.NoError(t, g.Truncate(0))
	require.Zero(t, m.Used())
	require.NoError(t, allocate(g, 4*undoPage))
	require.EqualValues(t, 4*undoPage, m.CrashClone(1).mu.capacity)
	require.NoError(t, g.Close())
	require.NoError(t, m.SyncDir("/"))
	require.NoError(t, m.RemoveAll("/g"))
	require.Zero(t, m.Used())
}

// The space in use is always that of the files there are, whatever happens to them.
func TestCapacityAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := NewMem()
		capacity := int64(rapid.IntRange(0, 10).Draw(t, "capacity")) * undoPage
		m.SetCapacity(capacity)
		name := rapid.SampledFrom([]string{"/a", "/b", "/d/a", "/d/b", "/d"})
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			at := name.Draw(t, "name")
			switch rapid.IntRange(0, 7).Draw(t, "step") {
			case 0:
				_ = m.MkdirAll("/d")
			case 1:
				_ = m.Rename(at, name.Draw(t, "to"))
			case 2:
				_ = m.RemoveAll(at)
			case 3:
				m = m.CrashClone(rapid.Uint64().Draw(t, "seed"))
			case 4:
				_ = m.SyncDir("/")
			default:
				f, err := m.Create(at)
				if errors.Is(err, fs.ErrExist) {
					f, err = m.OpenAppend(at)
				}
				if err != nil {
					continue
				}
				if rapid.Bool().Draw(t, "write") {
					_, err = f.WriteAt(make([]byte, rapid.IntRange(0, 3*undoPage).Draw(t, "n")), int64(rapid.IntRange(0, 3*undoPage).Draw(t, "off")))
				} else {
					err = f.Truncate(int64(rapid.IntRange(0, 6*undoPage).Draw(t, "size")))
				}
				if err != nil {
					require.ErrorIs(t, err, syscall.ENOSPC)
				}
				require.NoError(t, f.Close())
			}
			used := int64(0)
			var walk func(name string)
			walk = func(name string) {
				st, err := m.Stat(name)
				require.NoError(t, err)
				if !st.IsDir {
					used += blocksOf(st.Size)
					return
				}
				names, err := m.List(name)
				require.NoError(t, err)
				for _, n := range names {
					walk(name + "/" + n)
				}
			}
			walk("/")
			require.Equal(t, used, m.Used())
		}
	})
}

func TestDirectHasToBeAlignedInMemoryToo(t *testing.T) {
	m := NewMem()
	f, err := m.OpenFile("f", FlagWrite|FlagCreate|FlagDirect)
	require.NoError(t, err)
	b := alignedClone(make([]byte, 4*sectorSize))
	_, err = f.WriteAt(b, sectorSize)
	require.NoError(t, err)
	for _, bad := range []struct {
		p   []byte
		off int64
	}{{b[1 : 1+sectorSize], 0}, {b[:sectorSize-1], 0}, {b[:sectorSize], 1}} {
		_, err = f.WriteAt(bad.p, bad.off)
		require.ErrorIs(t, err, syscall.EINVAL)
		_, err = f.ReadAt(bad.p, bad.off)
		require.ErrorIs(t, err, syscall.EINVAL)
		require.ErrorContains(t, err, fmt.Sprintf("offset %d and size %d", bad.off, len(bad.p)))
	}
	require.True(t, slices.Equal(make([]byte, len(b)), b))
}
