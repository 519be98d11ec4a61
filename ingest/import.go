package ingest

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
)

// ImageSink takes the values of an import: keys strictly ascending, all at one LSN. image is valid during the
// call only.
type ImageSink interface {
	PutImage(ctx context.Context, key page.Key, image []byte) error
}

// ImportStats count what an import took.
type ImportStats struct {
	Relations int64 // forks of relations
	Pages     int64 // their blocks, and pages of SLRUs
	Bytes     int64 // size of those
}

// How files are read.
const (
	chunkBlocks = 128 // blocks that one read brings: 1 MiB
	maxReaders  = 4   // reads in flight
	maxChunks   = 8   // chunks in memory, being read or waiting for the sink
)

// chunk is a step of an import: a value that is in memory already, or consecutive pages of a file.
type chunk struct {
	kv keyValue // if path is empty

	path   string
	offset int64
	blocks uint32
	first  page.Key // of the first page
	block  uint32   // number of the first page in the relation, for its checksum
	check  bool     // verify checksums

	buf  []byte
	err  error
	done chan struct{}
}

// Import gives every page and file to sink in the order of the keys, all meant for d.LSN. progress, if set,
// is called after every chunk of about 1 MiB. Files are read ahead in parallel; the sink is called from this
// goroutine. When Import fails, the sink's content is of no use.
func (d *DataDir) Import(ctx context.Context, sink ImageSink, progress func(ImportStats)) (ImportStats, error) {
	// Small files first: what is wrong with them is found before gigabytes are read.
	meta, err := d.metadata()
	if err != nil {
		return ImportStats{}, err
	}
	relMaps := make(map[string][]byte)
	for i := range d.dbs {
		if db := &d.dbs[i]; db.HasRelMap {
			if relMaps[db.dir], err = d.relMap(db); err != nil {
				return ImportStats{}, err
			}
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &pipeline{d: d, ctx: ctx, work: make(chan *chunk), order: make(chan *chunk, maxChunks), free: make(chan []byte, maxChunks)}
	for range maxChunks {
		p.free <- nil
	}
	for range maxReaders {
		p.wg.Go(p.read)
	}
	p.wg.Go(func() { p.dispatch(relMaps, meta) })
	stats, err := p.drain(sink, progress)
	cancel()
	p.wg.Wait()
	if err == nil {
		err = d.stillStopped()
	}
	return stats, err
}

// pipeline reads chunks ahead: dispatch lists them in order, readers fill them, drain hands them on.
type pipeline struct {
	d     *DataDir
	ctx   context.Context // ends when drain does
	work  chan *chunk
	order chan *chunk
	free  chan []byte // as many buffers as chunks may be in memory
	wg    sync.WaitGroup
}

// emit queues a chunk; false means that the import has ended.
func (p *pipeline) emit(c *chunk) bool {
	if c.path != "" {
		select {
		case c.buf = <-p.free:
		case <-p.ctx.Done():
			return false
		}
		c.done = make(chan struct{})
		select {
		case p.work <- c:
		case <-p.ctx.Done():
			return false
		}
	}
	select {
	case p.order <- c:
		return true
	case <-p.ctx.Done():
		return false
	}
}

func (p *pipeline) value(k page.Key, v []byte) bool { return p.emit(&chunk{kv: keyValue{k, v}}) }

// dispatch lists everything in the order of the keys.
func (p *pipeline) dispatch(relMaps map[string][]byte, meta []keyValue) {
	defer close(p.order)
	defer close(p.work)
	dbs := make([]datadir.Database, len(p.d.dbs))
	for i, db := range p.d.dbs {
		dbs[i] = db.Database
	}
	ok := p.value(page.DBDirKey, datadir.EncodeDatabases(dbs))
	for i := range p.d.dbs {
		ok = ok && p.database(&p.d.dbs[i], relMaps)
	}
	for i, kind := range page.SLRUs {
		ok = ok && p.slru(kind, p.d.slrus[i])
	}
	for _, kv := range meta {
		ok = ok && p.value(kv.key, kv.value)
	}
}

func (p *pipeline) database(db *dbFiles, relMaps map[string][]byte) bool {
	if db.HasRelMap && !p.value(page.RelMapKey(db.Spc, db.DB), relMaps[db.dir]) {
		return false
	}
	forks := make([]datadir.RelFork, len(db.rels))
	for i := range db.rels {
		forks[i] = datadir.RelFork{Rel: db.rels[i].rel.Rel, Fork: uint8(db.rels[i].rel.Fork)}
	}
	if !p.value(page.RelDirKey(db.Spc, db.DB), datadir.EncodeRelations(forks)) {
		return false
	}
	check := p.d.Checksums && !p.d.SkipChecksums
	for i := range db.rels {
		r := &db.rels[i]
		block := uint32(0)
		for seg, n := range r.blocks {
			c := chunk{path: r.segmentPath(seg), first: r.rel.Block(block), block: block, check: check}
			if !p.file(c, n) {
				return false
			}
			block += n
		}
		if !p.value(r.rel.SizeKey(), datadir.EncodeSize(block)) {
			return false
		}
	}
	return true
}

func (p *pipeline) slru(kind page.SLRU, files []slruFile) bool {
	segs := make([]uint32, len(files))
	for i, f := range files {
		segs[i] = f.segment
	}
	ok := p.value(kind.DirKey(), datadir.EncodeSegments(segs))
	for _, f := range files {
		ok = ok && p.file(chunk{path: f.path, first: kind.Block(f.segment, 0)}, f.pages)
		ok = ok && p.value(kind.SizeKey(f.segment), datadir.EncodeSize(f.pages))
	}
	return ok
}

// file cuts a file of n pages into chunks like c, its first.
func (p *pipeline) file(c chunk, n uint32) bool {
	for n > 0 {
		part := c
		part.blocks = min(n, chunkBlocks)
		if !p.emit(&part) {
			return false
		}
		n -= part.blocks
		c.offset += int64(part.blocks) * pg.BlockSize
		c.first.F6 += part.blocks
		c.block += part.blocks
	}
	return true
}

// read fills chunks. A worker keeps the file open from chunk to chunk.
func (p *pipeline) read() {
	var f *os.File
	var open string
	defer func() {
		if f != nil {
			f.Close()
		}
	}()
	for c := range p.work {
		if c.path != open {
			if f != nil {
				f.Close()
			}
			open = c.path
			f, c.err = os.Open(filepath.Join(p.d.Dir, filepath.FromSlash(c.path)))
			if c.err != nil {
				open, f = "", nil
			}
		}
		if c.err == nil {
			c.err = c.fill(f)
		}
		close(c.done)
	}
}

func (c *chunk) fill(f *os.File) error {
	n := int(c.blocks) * pg.BlockSize
	if cap(c.buf) < n {
		c.buf = make([]byte, max(n, chunkBlocks*pg.BlockSize))
	}
	c.buf = c.buf[:n]
	if _, err := f.ReadAt(c.buf, c.offset); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("read %d bytes at %d: %w", n, c.offset, err)
	}
	for i := uint32(0); c.check && i < c.blocks; i++ {
		p := bufpage.Page(c.buf[i*pg.BlockSize:][:pg.BlockSize])
		if !p.ChecksumOK(c.block + i) {
			return fmt.Errorf("block %d of the relation (byte %d of the file): page checksum is %04X, computed %04X: the page is damaged", c.block+i, c.offset+int64(i)*pg.BlockSize, p.StoredChecksum(), bufpage.Checksum(p, c.block+i))
		}
	}
	return nil
}

// drain hands the chunks to the sink in order.
func (p *pipeline) drain(sink ImageSink, progress func(ImportStats)) (ImportStats, error) {
	var s ImportStats
	for {
		var c *chunk
		var ok bool
		select {
		case c, ok = <-p.order:
		case <-p.ctx.Done():
			return s, p.ctx.Err()
		}
		if !ok {
			return s, p.ctx.Err()
		}
		if c.path == "" {
			if err := sink.PutImage(p.ctx, c.kv.key, c.kv.value); err != nil {
				return s, err
			}
			if _, ok := c.kv.key.RelSize(); ok {
				s.Relations++
			}
			continue
		}
		select {
		case <-c.done:
		case <-p.ctx.Done():
			return s, p.ctx.Err()
		}
		if c.err != nil {
			return s, refuse(p.d.Dir, c.path, "%w", c.err)
		}
		for k, rest := c.first, c.buf; len(rest) > 0; k.F6++ {
			if err := sink.PutImage(p.ctx, k, rest[:pg.BlockSize]); err != nil {
				return s, err
			}
			rest = rest[pg.BlockSize:]
			s.Pages++
			s.Bytes += pg.BlockSize
		}
		p.free <- c.buf[:0]
		if progress != nil {
			progress(s)
		}
	}
}
