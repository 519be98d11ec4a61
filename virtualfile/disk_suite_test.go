package virtualfile

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// eachMode runs a test over Disks of every mode, on the operating system's files, on those in memory and on
// faulty ones without a fault. faulty gives the same Disk with a fault.
func eachMode(t *testing.T, test func(t *testing.T, d *Disk, dir string, faulty func(x *Fault) *Disk)) {
	for mode, name := range map[Mode]string{Buffered: "buffered", Direct: "direct", DirectRW: "direct-rw"} {
		for where, fsys := range map[string]FS{"os": NewOS(), "mem": NewMem(), "faulty": NewFaulty(NewOS(), &Fault{})} {
			t.Run(name+"/"+where, func(t *testing.T) {
				dir := filepath.ToSlash(t.TempDir())
				require.NoError(t, fsys.MkdirAll(dir))
				open := func(fsys FS) *Disk {
					d, err := NewDisk(fsys, DiskOptions{Mode: mode, Validate: true})
					require.NoError(t, err)
					t.Cleanup(func() { require.NoError(t, d.Close()) })
					return d
				}
				test(t, open(fsys), dir, func(x *Fault) *Disk { return open(NewFaulty(fsys, x)) })
			})
		}
	}
}
