package ingest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/stratapg/strata/ingest/source"
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
	// Suspect are pages of a base backup whose checksum is wrong: the server wrote them while they were copied, or they
	// are damaged. WAL tells, see Recovery.
	Suspect []page.Key
}

// Add adds what another part took.
func (s *ImportStats) Add(o ImportStats) {
	s.Relations += o.Relations
	s.Pages += o.Pages
	s.Bytes += o.Bytes
	s.Suspect = append(s.Suspect, o.Suspect...)
}

// How files are read.
const (
	chunkBlocks = 128 // blocks that one read brings: 1 MiB
	maxChunks   = 4   // chunks of one job in memory, being read or waiting for the sink
	maxReaders  = 2   // of one job's chunks at once
)

// JobBytes is about the memory that a running job has for what it reads.
const JobBytes = maxChunks * chunkBlocks * pg.BlockSize

// Import gives every page and file to sink in the order of the keys, all meant for d.LSN. progress, if set,
// is called after every chunk of about 1 MiB. When Import fails, the sink's content is of no use.
func (d *DataDir) Import(ctx context.Context, sink ImageSink, progress func(ImportStats)) (ImportStats, error) {
	p, err := d.Plan(ctx, 0)
	if err != nil {
		return ImportStats{}, err
	}
	stats, err := p.Run(ctx, 0, sink, progress)
	if err == nil {
		err = d.StillStopped(ctx)
	}
	return stats, err
}

// Run does one job: it gives the job's values to sink, in the order of their keys, from this goroutine. Pages are read
// ahead by others. Jobs may run at the same time, and again.
func (p *Plan) Run(ctx context.Context, job int, sink ImageSink, progress func(ImportStats)) (ImportStats, error) {
	ctx, cancel := context.WithCancel(ctx)
	r := &run{d: p.d, ctx: ctx, work: make(chan *chunk), order: make(chan *chunk, maxChunks), free: make(chan []byte, maxChunks)}
	for range maxChunks {
		r.free <- nil
	}
	for range maxReaders {
		r.wg.Go(r.read)
	}
	r.wg.Go(func() { r.dispatch(p.Jobs[job].tasks) })
	stats, err := r.drain(sink, progress)
	cancel()
	r.wg.Wait()
	return stats, err
}

// chunk is a part of a task that one read brings.
type chunk struct {
	task
	buf     []byte
	suspect []page.Key
	err     error
	done    chan struct{}
}

// run is a job at work: dispatch lists its chunks in order, readers fill them, drain hands them on.
type run struct {
	d     *DataDir
	ctx   context.Context // ends when drain does
	work  chan *chunk
	order chan *chunk
	free  chan []byte // as many buffers as chunks may be in memory
	wg    sync.WaitGroup
}

// dispatch cuts tasks into chunks.
func (r *run) dispatch(tasks []task) {
	defer close(r.order)
	defer close(r.work)
	for _, t := range tasks {
		if t.path == "" {
			if !r.send(r.order, &chunk{task: t}) {
				return
			}
			continue
		}
		for left := t.blocks; left > 0; left -= t.blocks {
			t.blocks = min(left, chunkBlocks)
			c := &chunk{task: t, done: make(chan struct{})}
			select {
			case c.buf = <-r.free:
			case <-r.ctx.Done():
				return
			}
			if !r.send(r.work, c) || !r.send(r.order, c) {
				return
			}
			t.offset += int64(t.blocks) * pg.BlockSize
			t.key.F6 += t.blocks
			t.block += t.blocks
		}
	}
}

func (r *run) send(to chan<- *chunk, c *chunk) bool {
	select {
	case to <- c:
		return true
	case <-r.ctx.Done():
		return false
	}
}

// read fills chunks. A reader keeps the file open from chunk to chunk.
func (r *run) read() {
	var f source.File
	var open string
	defer func() {
		if f != nil {
			f.Close() // it was only read
		}
	}()
	for c := range r.work {
		if c.path != open {
			if f != nil {
				f.Close() // it was only read
			}
			open = c.path
			if f, c.err = r.d.src.Open(r.ctx, c.path); c.err != nil {
				open, f = "", nil
			}
		}
		if c.err == nil {
			c.err = c.fill(r.ctx, f, r.d.Backup != nil)
		}
		close(c.done)
	}
}

func (c *chunk) fill(ctx context.Context, f source.File, running bool) error {
	n := int(c.blocks) * pg.BlockSize
	if cap(c.buf) < n {
		c.buf = make([]byte, max(n, chunkBlocks*pg.BlockSize))
	}
	c.buf = c.buf[:n]
	if err := f.ReadAt(ctx, c.buf, c.offset); err != nil {
		return fmt.Errorf("read %d bytes at %d: %w", n, c.offset, err)
	}
	for i := uint32(0); c.check && i < c.blocks; i++ {
		p := bufpage.Page(c.buf[i*pg.BlockSize:][:pg.BlockSize])
		if p.ChecksumOK(c.block + i) {
			continue
		}
		if running {
			k := c.key
			k.F6 += i
			c.suspect = append(c.suspect, k)
			continue
		}
		return fmt.Errorf("%w: block %d of the relation (byte %d of the file): page checksum is %04X, computed %04X: the page is damaged",
			errContent, c.block+i, c.offset+int64(i)*pg.BlockSize, p.StoredChecksum(), bufpage.Checksum(p, c.block+i))
	}
	return nil
}

// errContent marks what no second reading makes right.
var errContent = errors.New("content")

// Lasting says whether an error of a job is one of what was read, so that trying again is of no use.
func Lasting(err error) bool { return errors.Is(err, errContent) }

// maxSuspects bounds the pages of one job whose checksum may be wrong: a server writes few while a backup copies them.
const maxSuspects = 65536

// drain hands the chunks to the sink in order.
func (r *run) drain(sink ImageSink, progress func(ImportStats)) (ImportStats, error) {
	var s ImportStats
	for {
		var c *chunk
		var ok bool
		select {
		case c, ok = <-r.order:
		case <-r.ctx.Done():
			return s, r.ctx.Err()
		}
		if !ok {
			return s, r.ctx.Err()
		}
		if c.path == "" {
			if err := sink.PutImage(r.ctx, c.key, c.value); err != nil {
				return s, err
			}
			if _, ok := c.key.RelSize(); ok {
				s.Relations++
			}
			continue
		}
		select {
		case <-c.done:
		case <-r.ctx.Done():
			return s, r.ctx.Err()
		}
		if c.err != nil {
			return s, refuse(r.d.Dir, c.path, "%w", c.err)
		}
		if s.Suspect = append(s.Suspect, c.suspect...); len(s.Suspect) > maxSuspects {
			return s, refuse(r.d.Dir, c.path, "%w: over %d pages have a wrong checksum: the backup is damaged", errContent, maxSuspects)
		}
		for k, rest := c.key, c.buf; len(rest) > 0; k.F6++ {
			if err := sink.PutImage(r.ctx, k, rest[:pg.BlockSize]); err != nil {
				return s, err
			}
			rest = rest[pg.BlockSize:]
			s.Pages++
			s.Bytes += pg.BlockSize
		}
		r.free <- c.buf[:0]
		if progress != nil {
			progress(s)
		}
	}
}
