package layer

import (
	"runtime"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/stratapg/strata/page"
)

// Compression says how an image layer's blobs are stored. The zero value is Neon's default, zstd level 1.
type Compression struct {
	// Disabled stores images as they are.
	Disabled bool
	// Level is that of zstd, 1 to 22; 0 means 1. Higher levels are slower and a little smaller.
	Level int
}

const (
	// packBytes is how much is compressed in one go: enough to make a goroutine's start cheap, little enough
	// for a batch to stay in the processor's cache.
	packBytes = 256 << 10
	// packAhead is how many batches each processor may have in flight.
	packAhead = 2
)

// packer compresses images in batches. Batches run concurrently and come back in order.
type packer struct {
	level   zstd.EncoderLevel
	current *packBatch
	flying  []*packBatch
	due     []*packBatch // scratch of add and flush
	free    []*packBatch
	limit   int
}

// packBatch is a run of images and, once done is closed, their compressed forms.
type packBatch struct {
	raw   []byte
	out   []byte
	items []packItem
	done  chan struct{}
	err   error
}

type packItem struct {
	key   page.Key
	start int // in raw
	size  int
	// outStart and outSize place the frame in out; outSize 0 means that the image is stored as it is.
	outStart, outSize int
}

func newPacker(level int) *packer {
	return &packer{level: zstd.EncoderLevelFromZstd(max(level, 1)), limit: packAhead * runtime.GOMAXPROCS(0)}
}

// add copies an image and gives the batches that the caller is to wait for and write now.
func (p *packer) add(k page.Key, image []byte) []*packBatch {
	b := p.batch()
	b.items = append(b.items, packItem{key: k, start: len(b.raw), size: len(image)})
	b.raw = append(b.raw, image...)
	if len(b.raw) < packBytes {
		return nil
	}
	p.launch()
	p.due = p.due[:0]
	for len(p.flying) > p.limit {
		p.due, p.flying = append(p.due, p.flying[0]), p.flying[1:]
	}
	return p.due
}

// flush gives all batches.
func (p *packer) flush() []*packBatch {
	p.launch()
	p.due = append(p.due[:0], p.flying...)
	p.flying = p.flying[:0]
	return p.due
}

// wait waits for batches that nobody wants any more.
func (p *packer) wait() {
	for _, b := range p.flying {
		<-b.done
	}
	p.flying = nil
}

func (p *packer) batch() *packBatch {
	if p.current != nil {
		return p.current
	}
	b := &packBatch{}
	if n := len(p.free); n > 0 {
		b, p.free = p.free[n-1], p.free[:n-1]
	}
	b.done = make(chan struct{})
	p.current = b
	return b
}

func (p *packer) recycle(b *packBatch) {
	b.raw, b.out, b.items = b.raw[:0], b.out[:0], b.items[:0]
	p.free = append(p.free, b)
}

func (p *packer) launch() {
	if p.current == nil || len(p.current.items) == 0 {
		return
	}
	b, level := p.current, p.level
	p.current = nil
	p.flying = append(p.flying, b)
	// Bounded by limit; every batch is waited for by drain or wait.
	go func() {
		defer close(b.done)
		b.err = b.compress(level)
	}()
}

func (b *packBatch) compress(level zstd.EncoderLevel) error {
	enc, err := encoder(level)
	if err != nil {
		return err
	}
	defer encoderPool(level).Put(enc)
	for i := range b.items {
		it := &b.items[i]
		if it.size < smallBlob {
			continue
		}
		at := len(b.out)
		b.out = enc.EncodeAll(b.raw[it.start:it.start+it.size], b.out)
		if n := len(b.out) - at; n < it.size {
			it.outStart, it.outSize = at, n
		} else {
			b.out = b.out[:at]
		}
	}
	return nil
}

func (b *packBatch) stored(i int) Stored {
	it := &b.items[i]
	if it.outSize > 0 {
		return Stored{Data: b.out[it.outStart : it.outStart+it.outSize], Zstd: true}
	}
	return Stored{Data: b.raw[it.start : it.start+it.size]}
}

// encoders are kept per level, as one is several 100 KiB of tables.
var encoders [int(zstd.SpeedBestCompression) + 1]sync.Pool

func encoderPool(level zstd.EncoderLevel) *sync.Pool { return &encoders[level] }

// encoder gives one whose frames carry a checksum of their content, so that a damaged blob is found when it
// is read.
func encoder(level zstd.EncoderLevel) (*zstd.Encoder, error) {
	if e, ok := encoderPool(level).Get().(*zstd.Encoder); ok {
		return e, nil
	}
	return zstd.NewWriter(nil,
		zstd.WithEncoderLevel(level),
		zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(true))
}
