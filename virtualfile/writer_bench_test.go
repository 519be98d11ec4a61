package virtualfile

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// benchFile is how much one round writes: a layer's size, so that what a file costs once is in it.
const benchFile = 128 << 20

// BenchmarkWriter writes files of a layer's size in records of 8 KiB, through a Writer and by a bare loop that
// writes one aligned buffer over and over, in turns. MiB/s are those of the fastest round of either, which a
// busy machine disturbs least, and of-bare is their ratio. TMPDIR has to be on the disk that is meant.
func BenchmarkWriter(b *testing.B) {
	for _, o := range []DiskOptions{
		{Mode: Buffered, Engine: EngineStd},
		{Mode: DirectRW, Engine: EngineStd},
		{Mode: DirectRW, Engine: EngineURing},
	} {
		for size := 64 << 10; size <= 4<<20; size *= 2 {
			name := fmt.Sprintf("%v/%dKiB", o.Mode, size>>10)
			if o.Engine == EngineURing {
				name = fmt.Sprintf("%v-uring/%dKiB", o.Mode, size>>10)
			}
			b.Run(name, func(b *testing.B) {
				d, err := NewDisk(NewOS(), o)
				require.NoError(b, err)
				defer func() { require.NoError(b, d.Close()) }()
				name := filepath.Join(b.TempDir(), "layer")
				writer, bare := time.Hour, time.Hour
				b.SetBytes(benchFile)
				for b.Loop() {
					writer = min(writer, timeFile(b, d, name, func(h *Handle) { writeRecords(b, h, size) }))
					b.StopTimer()
					bare = min(bare, timeFile(b, d, name, func(h *Handle) { writeBare(b, h, size) }))
					b.StartTimer()
				}
				b.ReportMetric(benchFile>>20/writer.Seconds(), "MiB/s")
				b.ReportMetric(benchFile>>20/bare.Seconds(), "bare-MiB/s")
				b.ReportMetric(bare.Seconds()/writer.Seconds(), "of-bare")
			})
		}
	}
}

// timeFile gives how long it takes to write a file and sync it.
func timeFile(b *testing.B, d *Disk, name string, write func(h *Handle)) time.Duration {
	h, err := d.Create(name)
	require.NoError(b, err)
	begin := time.Now()
	write(h)
	require.NoError(b, h.Sync())
	took := time.Since(begin)
	require.NoError(b, h.Close())
	require.NoError(b, d.Remove(name))
	return took
}

func writeRecords(b *testing.B, h *Handle, size int) {
	record := pattern(8 << 10)
	w := NewWriter(h, WriterOptions{Buffer: size})
	for range benchFile / len(record) {
		if _, err := w.Write(record); err != nil {
			b.Fatal(err)
		}
	}
	_, err := w.Finish(8 << 10)
	require.NoError(b, err)
}

func writeBare(b *testing.B, h *Handle, size int) {
	flag := os.O_WRONLY
	if h.Direct() {
		flag |= directFlag
	}
	f, err := os.OpenFile(h.Name(), flag, 0)
	require.NoError(b, err)
	p := alignedClone(pattern(size))
	for off := int64(0); off < benchFile; off += int64(size) {
		if _, err := f.WriteAt(p, off); err != nil {
			b.Fatal(err)
		}
	}
	require.NoError(b, f.Close())
}

// BenchmarkWriterMemory is what a Writer itself costs: the file takes writes and forgets them.
func BenchmarkWriterMemory(b *testing.B) {
	for _, size := range []int{24, 100, 8 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			d := memDisk(b, discardFS{NewMem()})
			w := NewWriter(createFile(b, d, "f"), WriterOptions{})
			defer w.Abort()
			p := pattern(size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.Write(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
