package basebackup

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/control"
)

// ErrChain says that archives are no backup and the incremental ones that follow it, in their order.
var ErrChain = errors.New("not a chain of backups")

// TarFile is an archive that Combine reads: not compressed, as it is read here and there.
type TarFile interface {
	io.ReaderAt
	Name() string
}

// link is one archive of a chain.
type link struct {
	name    string
	tar     TarFile
	entries []linkEntry
	at      map[string]int // of entries, by path
	label   chainLabel
	control *control.File
}

type linkEntry struct {
	name string
	dir  bool
	off  int64 // of the content
	size int64
}

// chainLabel is what a backup_label says of a backup's place in a chain.
type chainLabel struct {
	text           string // without what only an incremental backup has
	start, parent  page.LSN
	tli, parentTLI uint32
	hasParent      bool
}

// Combine writes what a full backup with a manifest, and the incremental ones that follow it, come to: the full backup
// that would have been made in place of the last. What it writes has a manifest and can be followed by others.
//
// It reads the archives' tables of contents first, and then each block once; memory is some hundred bytes for each file.
func Combine(ctx context.Context, w io.Writer, chain []TarFile, o CombineOptions) (Result, error) {
	c, err := openChain(chain)
	if err != nil {
		return Result{}, fmt.Errorf("combine backups: %w", err)
	}
	last := c.links[len(c.links)-1]
	bo := Options{Manifest: true, LSN: last.label.start, Version: last.control.Version(), Progress: o.Progress}.withDefaults()
	c.out = newArchive(ctx, w, bo)
	if err := c.write(); err != nil {
		return Result{}, fmt.Errorf("combine backups: %w", err)
	}
	return Result{LSN: last.label.start, Files: c.out.files, Bytes: c.out.out.n}, nil
}

// CombineOptions say how to combine.
type CombineOptions struct {
	// Progress, if set, is called now and then, from the goroutine that called Combine.
	Progress func(Progress)
}

// combination is one call of Combine.
type combination struct {
	links []*link // the full one first
	out   *archive
}

func openChain(chain []TarFile) (*combination, error) {
	if len(chain) == 0 {
		return nil, fmt.Errorf("%w: none is given", ErrChain)
	}
	c := &combination{}
	for i, f := range chain {
		l, err := openLink(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		switch {
		case i == 0 && l.label.hasParent:
			err = fmt.Errorf("%w: the first is an incremental backup, which follows that of %s", ErrChain, l.label.parent)
		case i > 0 && !l.label.hasParent:
			err = fmt.Errorf("%w: only the first may be a full backup", ErrChain)
		case i > 0:
			err = l.follows(c.links[i-1])
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		c.links = append(c.links, l)
	}
	return c, nil
}

// follows checks that p is the backup that l says it follows.
func (l *link) follows(p *link) error {
	if l.label.parent != p.label.start || l.label.parentTLI != p.label.tli {
		return fmt.Errorf("%w: it follows the backup at %s on PostgreSQL's timeline %d, and %s is at %s on %d",
			ErrChain, l.label.parent, l.label.parentTLI, p.name, p.label.start, p.label.tli)
	}
	if a, b := l.control.SystemID(), p.control.SystemID(); a != b {
		return fmt.Errorf("%w: it is of the cluster %d, and %s of %d", ErrChain, a, p.name, b)
	}
	return nil
}

// maxSmall bounds the files that are read whole: labels and control files.
const maxSmall = 64 << 10

func openLink(f TarFile) (*link, error) {
	l := &link{name: f.Name(), tar: f, at: make(map[string]int)}
	r := io.NewSectionReader(f, 0, 1<<62)
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the archive, which must be a tar that is not compressed: %w", err)
		}
		off, err := r.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		name := path.Clean(h.Name)
		if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir || strings.HasPrefix(name, "../") || path.IsAbs(name) || name == ".." {
			return nil, fmt.Errorf("entry %q of type %q is none of a base backup's", h.Name, h.Typeflag)
		}
		if _, twice := l.at[name]; twice {
			return nil, fmt.Errorf("entry %q is there twice", h.Name)
		}
		l.at[name] = len(l.entries)
		l.entries = append(l.entries, linkEntry{name, h.Typeflag == tar.TypeDir, off, h.Size})
	}
	text, err := l.small(labelPath)
	if err != nil {
		return nil, fmt.Errorf("%w (backups of a chain are made with a manifest)", err)
	}
	if l.label, err = parseLabel(string(text)); err != nil {
		return nil, err
	}
	raw, err := l.small(controlFilePath)
	if err != nil {
		return nil, err
	}
	if l.control, err = control.Parse(raw); err != nil {
		return nil, fmt.Errorf("%s: %w", controlFilePath, err)
	}
	if _, ok := l.at[manifestPath]; !ok {
		return nil, fmt.Errorf("%w: there is no %s, which comes last: the archive is not whole", ErrChain, manifestPath)
	}
	return l, nil
}

func (l *link) small(name string) ([]byte, error) {
	i, ok := l.at[name]
	if !ok {
		return nil, fmt.Errorf("%w: there is no %s", ErrChain, name)
	}
	e := &l.entries[i]
	if e.size > maxSmall {
		return nil, fmt.Errorf("%s has %d bytes", name, e.size)
	}
	b := make([]byte, e.size)
	return b, l.read(e, b, 0)
}

// read fills b from an entry's content.
func (l *link) read(e *linkEntry, b []byte, off int64) error {
	if off < 0 || off+int64(len(b)) > e.size {
		return fmt.Errorf("%s: %s has %d bytes, wanted are %d at %d", l.name, e.name, e.size, len(b), off)
	}
	if n, err := l.tar.ReadAt(b, e.off+off); n < len(b) {
		return fmt.Errorf("%s: %s: %w", l.name, e.name, err)
	}
	return nil
}

// parseLabel reads a backup_label.
func parseLabel(text string) (l chainLabel, err error) {
	var kept strings.Builder
	for line := range strings.Lines(text) {
		value := func(prefix string) (string, bool) {
			v, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), prefix)
			return v, ok
		}
		lsn := func(s string, into *page.LSN) {
			s, _, _ = strings.Cut(s, " ")
			v, e := page.ParseLSN(s)
			*into, err = v, errors.Join(err, e)
		}
		number := func(s string, into *uint32) {
			n, e := strconv.ParseUint(s, 10, 32)
			*into, err = uint32(n), errors.Join(err, e)
		}
		if v, ok := value(labelParentLSN); ok {
			lsn(v, &l.parent)
			l.hasParent = true
			continue
		}
		if v, ok := value(labelParentTLI); ok {
			number(v, &l.parentTLI)
			continue
		}
		if v, ok := value(labelStart); ok {
			lsn(v, &l.start)
		}
		if v, ok := value(labelTLI); ok {
			number(v, &l.tli)
		}
		kept.WriteString(line)
	}
	if err == nil && (l.start == 0 || l.tli == 0) {
		err = errors.New("it says neither where WAL begins nor on which timeline")
	}
	if l.text = kept.String(); err != nil {
		err = fmt.Errorf("%s: %w", labelPath, err)
	}
	return l, err
}

// write goes through the last archive, and gives the manifest anew.
func (c *combination) write() error {
	last := c.links[len(c.links)-1]
	var end page.LSN
	for i := range last.entries {
		e := &last.entries[i]
		var err error
		dir, base := path.Split(e.name)
		name, incremental := strings.CutPrefix(base, incrementalPrefix)
		switch {
		case e.dir:
			err = c.out.dir(e.name)
		case e.name == manifestPath: // made anew
			end, err = last.walEnd()
		case e.name == labelPath:
			err = c.out.file(labelPath, []byte(last.label.text))
		case incremental:
			err = c.rebuild(dir + name)
		default:
			err = c.copy(last, e)
		}
		if err != nil {
			return err
		}
	}
	m := manifestEnd{version: last.control.Version(), systemID: last.control.SystemID(), tli: last.label.tli, start: last.label.start, end: end}
	if err := c.out.file(manifestPath, c.out.manifest.encode(m)); err != nil {
		return err
	}
	return c.out.close()
}

// walEnd reads from the manifest where the backup's WAL ends.
func (l *link) walEnd() (page.LSN, error) {
	e := &l.entries[l.at[manifestPath]]
	tail := make([]byte, min(e.size, maxSmall))
	if err := l.read(e, tail, e.size-int64(len(tail))); err != nil {
		return 0, err
	}
	const key = `"End-LSN": "`
	i := bytes.LastIndex(tail, []byte(key))
	if i < 0 {
		return 0, fmt.Errorf("%s: %s does not say where its WAL ends", l.name, manifestPath)
	}
	s, _, _ := strings.Cut(string(tail[i+len(key):]), `"`)
	return page.ParseLSN(s)
}

// copyBuffer is how much is copied at a time.
const copyBuffer = 1 << 20

// copy gives an entry as it is.
func (c *combination) copy(l *link, e *linkEntry) error {
	if err := c.out.begin(e.name, e.size); err != nil {
		return err
	}
	if err := c.stretch(l, e, 0, e.size); err != nil {
		return err
	}
	return c.out.end(e.name)
}

// stretch writes a part of an entry.
func (c *combination) stretch(l *link, e *linkEntry, off, size int64) error {
	buf := make([]byte, min(size, copyBuffer))
	for size > 0 {
		b := buf[:min(size, int64(len(buf)))]
		if err := l.read(e, b, off); err != nil {
			return err
		}
		if _, err := c.out.Write(b); err != nil {
			return err
		}
		off, size = off+int64(len(b)), size-int64(len(b))
	}
	return nil
}

// source is a link's version of a file.
type source struct {
	l     *link
	e     *linkEntry
	part  incrementalFile // if it is an incremental one
	whole bool
	next  int // of part's numbers, as blocks are taken in order
}

// sources finds the versions of a file, newest first, down to the last whole one.
func (c *combination) sources(name string) (out []*source, err error) {
	dir, base := path.Split(name)
	for i := len(c.links) - 1; i >= 0; i-- {
		l := c.links[i]
		if at, ok := l.at[name]; ok {
			return append(out, &source{l: l, e: &l.entries[at], whole: true}), nil
		}
		at, ok := l.at[dir+incrementalPrefix+base]
		if !ok {
			return nil, fmt.Errorf("%w: %s lacks %s, of which a later one has a part", ErrChain, l.name, name)
		}
		s := &source{l: l, e: &l.entries[at]}
		if s.part, err = parseIncremental(s.e.size, func(b []byte, off int64) error { return l.read(s.e, b, off) }); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", l.name, s.e.name, err)
		}
		out = append(out, s)
	}
	return nil, fmt.Errorf("%w: no backup has %s whole", ErrChain, name)
}

// blockAt says where in a source a block is. Blocks are asked for in ascending order.
func (s *source) blockAt(block uint32) (off int64, ok bool) {
	if s.whole {
		return int64(block) * pg.BlockSize, true
	}
	for s.next < len(s.part.numbers) && s.part.numbers[s.next] < block {
		s.next++
	}
	if s.next < len(s.part.numbers) && s.part.numbers[s.next] == block {
		return s.part.data + int64(s.next)*pg.BlockSize, true
	}
	return 0, false
}

// rebuild writes a file of which the last backup has a part.
func (c *combination) rebuild(name string) error {
	sources, err := c.sources(name)
	if err != nil {
		return err
	}
	newest := sources[0].part
	blocks := newest.truncation
	if n := len(newest.numbers); n > 0 {
		blocks = max(blocks, newest.numbers[n-1]+1)
	}
	if err := c.out.begin(name, int64(blocks)*pg.BlockSize); err != nil {
		return err
	}
	for block := uint32(0); block < blocks; {
		from, off, n := find(sources, block, blocks)
		if from == nil {
			err = c.zeros(n)
		} else {
			err = c.stretch(from.l, from.e, off, int64(n)*pg.BlockSize)
		}
		if err != nil {
			return err
		}
		block += n
	}
	return c.out.end(name)
}

// find gives the source of a block and how many behind it follow there; none if they are zeros.
func find(sources []*source, block, blocks uint32) (from *source, off int64, n uint32) {
	at := func(b uint32) (*source, int64) {
		for _, s := range sources {
			if off, ok := s.blockAt(b); ok {
				return s, off
			}
			if b >= s.part.truncation {
				break
			}
		}
		return nil, 0
	}
	from, off = at(block)
	for n = 1; block+n < blocks && n < copyBuffer/pg.BlockSize; n++ {
		if s, o := at(block + n); s != from || s != nil && o != off+int64(n)*pg.BlockSize {
			break
		}
	}
	return from, off, n
}

func (c *combination) zeros(n uint32) error {
	_, err := c.out.Write(make([]byte, int(n)*pg.BlockSize))
	return err
}
