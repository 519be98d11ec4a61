package basebackup

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"path"
	"time"
)

// Modes of entries: a server refuses a data directory that others can read.
const (
	fileMode = 0o600
	dirMode  = 0o700
)

// progressStep is how many bytes pass between two calls of Progress within a file.
const progressStep = 8 << 20

// archive writes the tar. Every entry has the same time, no owner, and comes in the order of the calls.
type archive struct {
	ctx      context.Context // of the one call of Write that this archive serves
	out      countingWriter
	tw       *tar.Writer
	modTime  time.Time
	seen     map[string]bool // directories, and files that were kept under their path
	files    int
	total    int64
	reported int64
	progress func(Progress)
	manifest *manifest // nil if none is wanted
}

// countingWriter counts what the destination took.
type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func newArchive(ctx context.Context, w io.Writer, o Options) *archive {
	a := &archive{ctx: ctx, out: countingWriter{w: w}, modTime: o.ModTime, seen: make(map[string]bool), progress: o.Progress}
	a.tw = tar.NewWriter(&a.out)
	if o.manifest() {
		a.manifest = &manifest{time: o.ModTime.Format(manifestTime)}
	}
	return a
}

// dir adds a directory and those above it that are not there yet.
func (a *archive) dir(name string) error {
	if name == "." || a.seen[name] {
		return nil
	}
	if err := a.dir(path.Dir(name)); err != nil {
		return err
	}
	a.seen[name] = true
	return a.header(tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: dirMode})
}

// file adds a whole file.
func (a *archive) file(name string, content []byte) error {
	if err := a.begin(name, int64(len(content))); err != nil {
		return err
	}
	if _, err := a.Write(content); err != nil {
		return err
	}
	return a.end(name)
}

// keptFile adds a file that was kept under its path, with its directories.
func (a *archive) keptFile(name string, content []byte) error {
	if a.seen[name] {
		return fmt.Errorf("file %q occurs twice", name)
	}
	if err := a.dir(path.Dir(name)); err != nil {
		return err
	}
	a.seen[name] = true
	return a.file(name, content)
}

// begin starts a file of size bytes, which Write must then give.
func (a *archive) begin(name string, size int64) error {
	if a.manifest != nil {
		a.manifest.begin(name, size)
	}
	return a.header(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: fileMode, Size: size})
}

func (a *archive) header(h tar.Header) error {
	if err := a.ctx.Err(); err != nil {
		return err
	}
	h.ModTime = a.modTime
	if err := a.tw.WriteHeader(&h); err != nil {
		return fmt.Errorf("write %s to the archive: %w", h.Name, err)
	}
	return nil
}

// Write gives the next bytes of the file that begin started.
func (a *archive) Write(p []byte) (int, error) {
	if err := a.ctx.Err(); err != nil {
		return 0, err
	}
	if a.manifest != nil {
		a.manifest.write(p)
	}
	n, err := a.tw.Write(p)
	if err != nil {
		return n, fmt.Errorf("write to the archive: %w", err)
	}
	if a.out.n-a.reported >= progressStep {
		a.report()
	}
	return n, nil
}

// end pads the file. It is an error if not all of it was given.
func (a *archive) end(name string) error {
	if err := a.tw.Flush(); err != nil {
		return fmt.Errorf("end %s in the archive: %w", name, err)
	}
	if a.manifest != nil {
		a.manifest.end()
	}
	a.files++
	a.report()
	return nil
}

func (a *archive) report() {
	a.reported = a.out.n
	if a.progress != nil {
		a.progress(Progress{Files: a.files, Bytes: a.out.n, Total: a.total})
	}
}

// close writes the end of the archive.
func (a *archive) close() error {
	if err := a.tw.Close(); err != nil {
		return fmt.Errorf("end the archive: %w", err)
	}
	a.report()
	return nil
}
