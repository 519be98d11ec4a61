package virtualfile

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"
)

// layerLike makes a file as layers are made: through a Writer under a temporary name, synced, renamed.
func layerLike(d *Disk, name string, data []byte) error {
	temp := name + TempSuffix
	h, err := d.Create(temp)
	if err != nil {
		return err
	}
	w := NewWriter(h, WriterOptions{Buffer: BufferAlign})
	_, err = w.Write(data)
	if err == nil {
		_, err = w.Finish(sectorSize)
	}
	w.Abort()
	if err == nil {
		err = h.Sync()
	}
	if err = errors.Join(err, h.Close()); err != nil {
		return err
	}
	return DurableRenameNew(d.FS(), temp, name)
}

// Whatever fails, and whenever it crashes, a layer has its name only with all its bytes, and is there once its
// making has succeeded.
func TestLayerAtEveryCrash(t *testing.T) {
	want := string(pattern(5 * BufferAlign))
	for _, mode := range []Mode{Buffered, DirectRW} {
		t.Run(mode.String(), func(t *testing.T) {
			everyCrash(t, func(m *MemFS) {}, func(fsys FS) error {
				d, err := NewDisk(fsys, DiskOptions{Mode: mode, Engine: EngineStd, Validate: true})
				require.NoError(t, err)
				return errors.Join(layerLike(d, "layer", []byte(want)), d.Close())
			}, func(t *testing.T, found *MemFS, done bool) {
				if got := finds(t, found, "layer"); got != "none" {
					require.Equal(t, want, got)
					return
				}
				require.False(t, done)
			})
		})
	}
}

// What an engine of no memory would do: sync again after a failed sync, through a new descriptor. The Sticky
// file system is what keeps it from publishing a file that is not on disk.
func TestOnlyStickyKeepsALostFileFromBeingPublished(t *testing.T) {
	publishAnyway := func(fsys FS) error {
		f, err := fsys.Create("layer" + TempSuffix)
		if err != nil {
			return err
		}
		_, err = f.Write(pattern(100))
		if err == nil && f.Sync() != nil {
			_ = f.Close()
			if f, err = fsys.OpenAppend("layer" + TempSuffix); err == nil {
				err = f.Sync()
			}
		}
		if err == nil {
			err = errors.Join(f.Close(), DurableRename(fsys, "layer"+TempSuffix, "layer"))
		}
		return err
	}
	for name, wrap := range map[string]func(FS) FS{"bare": func(f FS) FS { return f }, "sticky": Sticky} {
		t.Run(name, func(t *testing.T) {
			m := NewMem()
			err := publishAnyway(wrap(NewFaulty(m, &Fault{Op: OpSync, Nth: 1, Effect: Lose})))
			found := m.CrashClone(1)
			if name == "bare" {
				require.NoError(t, err)
				require.NotEqual(t, string(pattern(100)), content(t, found, "layer"), "the loss that the rule is about")
				return
			}
			require.ErrorIs(t, err, ErrBroken)
			_, err = found.Stat("layer")
			require.ErrorIs(t, err, fs.ErrNotExist)
		})
	}
}
