package manifest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// kept makes a manifest of a state, opens it, and has it written again by edits; it gives the file and what that says.
func kept(t *testing.T, s State, cutoff page.LSN) ([]byte, *decoded) {
	fs := virtualfile.NewMem()
	require.NoError(t, fs.MkdirAll("tl"))
	require.NoError(t, Create(fs, "tl", s))
	l, _, err := Open(fs, "tl", true, DefaultMinRewrite)
	require.NoError(t, err)
	require.Equal(t, s, l.State())
	for range 2 {
		_, err = l.Publish(&Edit{Cutoff: cutoff})
		require.NoError(t, err)
	}
	require.NoError(t, l.Close())
	b, err := virtualfile.ReadFile(fs, "tl/"+FileName, maxFileSize)
	require.NoError(t, err)
	got, err := decodeFile(b)
	require.NoError(t, err)
	return b, got
}

// TestRelDirsAreKept writes how relations are listed, also of a shard, and opens it again. Other versions do not say it, and this one
// says nothing unknown.
func TestRelDirsAreKept(t *testing.T) {
	for _, shard := range []page.ShardIdentity{{}, page.NewShardIdentity(1, 4, 2048)} {
		s := sampleState()
		s.Shard, s.RelDirs = shard, page.RelDirs{Form: page.RelDirV2, Since: 0x2377B20}
		b, got := kept(t, s, 0x2377B28)
		require.EqualValues(t, relDirsVersion, got.version)
		require.Equal(t, s.Meta, got.live.Meta)
		for v := uint32(plainVersion); v < relDirsVersion; v++ {
			_, err := decodeFile(append(appendHeader(nil, v), b[headerSize:]...))
			require.ErrorIs(t, err, ErrCorrupt, "version %d", v)
		}
		s.RelDirs.Form = 3
		_, err := decodeFile(encodeFile(&s, 1))
		require.ErrorContains(t, err, "form 3")
		s.RelDirs = page.RelDirs{}
		plain := encodeFile(&s, 1)
		_, err = decodeFile(append(appendHeader(nil, relDirsVersion), plain[headerSize:]...))
		require.ErrorIs(t, err, ErrCorrupt)
	}
}

// TestRelDirsChange asks for another form, has it, and asks for the next one, of a shard too: the file says each, and is of the older
// version again once nothing is asked for and it is written anew. No other version has such an item.
func TestRelDirsChange(t *testing.T) {
	for _, shard := range []page.ShardIdentity{{}, page.NewShardIdentity(1, 4, 2048)} {
		fs := virtualfile.NewMem()
		s := sampleState()
		s.Shard = shard
		require.NoError(t, fs.MkdirAll("tl"))
		require.NoError(t, Create(fs, "tl", s))
		l, _, err := Open(fs, "tl", true, DefaultMinRewrite)
		require.NoError(t, err)
		read := func() ([]byte, *decoded) {
			b, err := virtualfile.ReadFile(fs, "tl/"+FileName, maxFileSize)
			require.NoError(t, err)
			d, err := decodeFile(b)
			require.NoError(t, err)
			return b, d
		}
		both := page.RelDirs{Form: page.RelDirBoth, Since: 0x2377B40}
		for _, d := range []RelDirs{{Wanted: page.RelDirBoth}, {RelDirs: both}, {RelDirs: both, Wanted: page.RelDirV2}, {RelDirs: page.RelDirs{Form: page.RelDirV2, Since: 0x2377B80}}} {
			_, err := l.Publish(&Edit{RelDirs: &d})
			require.NoError(t, err)
			require.Equal(t, d, RelDirs{l.Meta().RelDirs, l.Meta().RelDirsWanted})
			b, got := read()
			require.EqualValues(t, wantedVersion, got.version)
			require.Equal(t, d, RelDirs{got.live.RelDirs, got.live.RelDirsWanted})
			require.Equal(t, shard, got.live.Shard)
			for v := uint32(plainVersion); v < wantedVersion; v++ {
				_, err := decodeFile(append(appendHeader(nil, v), b[headerSize:]...))
				require.ErrorIs(t, err, ErrCorrupt, "version %d", v)
			}
		}
		_, err = l.Publish(&Edit{RelDirs: &RelDirs{Wanted: 3}})
		require.ErrorContains(t, err, "form 3")
		require.NoError(t, l.Renew())
		require.NoError(t, l.Close())
		_, got := read()
		require.EqualValues(t, relDirsVersion, got.version)
		require.Equal(t, page.RelDirs{Form: page.RelDirV2, Since: 0x2377B80}, got.live.RelDirs)
	}
}

// TestShardsIdentity shows that a shard's manifest says which it is, in a version that older programs refuse, and that one
// without shards stays as it was.
func TestShardsIdentity(t *testing.T) {
	s := State{Meta: Meta{Name: "main", Version: 17, InitialLSN: 8, Shard: page.NewShardIdentity(1, 4, 2048)}, DiskConsistentLSN: 8}
	s.Layers = []layer.Desc{{Keys: page.FullRange, LSNs: page.LSNRange{Start: 1, End: 9}, Generation: 1, Size: 8192}}
	d := s.Layers[0]
	d.Size = 0
	s.Remote = []Remote{{Layer: d, Sum: 7, Shard: 0x0002}}
	b, got := kept(t, s, 16)
	require.EqualValues(t, shardVersion, got.version)
	require.Equal(t, s.Shard, got.live.Shard)
	require.Equal(t, "00000000000000000000000000000000-0104", got.live.Owner().String())
	// Neither version may say what belongs to the other.
	_, err := decodeFile(append(appendHeader(nil, remoteVersion), b[headerSize:]...))
	require.ErrorIs(t, err, ErrCorrupt)
	s.Shard = page.ShardIdentity{}
	plain := encodeFile(&s, 1)
	_, err = decodeFile(append(appendHeader(nil, shardVersion), plain[headerSize:]...))
	require.ErrorIs(t, err, ErrCorrupt)
}
