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
	// Level is that of zstd, 1 to 22; 0 means 1. Higher levels are slower and a little smaller. At level 1 images that become
	// a quarter of their size without entropy coding stay without it.
	Level int
}

const (
	// packBytes is how much is compressed in one go: enough to make a goroutine's start cheap, little enough
	// for a batch to stay in the processor's cache.
	packBytes = 256 << 10
	// packAhead is how many batches each processor may have in flight.
	packAhead = 2

	// lightShare is what part of its size an image may take without entropy coding, for which tables are made by who writes
	// it and made again by each who reads it: most of the time that 8 KiB take. Where matches alone do that well the coding
	// saves little. Of PostgreSQL's pages, size and processor time in microseconds to write and to read:
	//
	//	                             entropy           light
	//	pgbench_accounts         0.078 24 10.1     0.090 10 3.8
	//	pg_attribute             0.120 29 10.9     0.134 11 2.7
	//	pg_proc                  0.163 35 12.9     0.185 23 6.7
	//	an index of oids         0.278 39 11.2     0.346 21 8.6
	//	pg_rewrite               0.546 43  8.5     0.619 12 2.1
	lightShare = 4
)

// packer compresses images in batches. Batches run concurrently and come back in order.
type packer struct {
	light   bool // lightShare counts
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
	return &packer{light: level <= 1, level: zstd.EncoderLevelFromZstd(max(level, 1)), limit: packAhead * runtime.GOMAXPROCS(0)}
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
	b, level, light := p.current, p.level, p.light
	p.current = nil
	p.flying = append(p.flying, b)
	// Bounded by limit; every batch is waited for by drain or wait.
	go func() {
		defer close(b.done)
		b.err = b.compress(level, light)
	}()
}

// compress makes the frames. light says that those that are small without entropy coding shall be without. Neighbours are
// alike: after one that is not small the next ones are not tried, until one is that small with it.
func (b *packBatch) compress(level zstd.EncoderLevel, light bool) error {
	full, err := encoderFor(level, false)
	if err != nil {
		return err
	}
	defer full.release()
	quick, err := encoderFor(level, true)
	if err != nil {
		return err
	}
	defer quick.release()
	try := light
	for i := range b.items {
		it := &b.items[i]
		if it.size < smallBlob {
			continue
		}
		image, at := b.raw[it.start:it.start+it.size], len(b.out)
		small := at + it.size/lightShare
		if try {
			b.out = quick.EncodeAll(image, b.out)
			try = len(b.out) <= small
		}
		if !try {
			b.out = full.EncodeAll(image, b.out[:at])
			try = light && len(b.out) <= small
		}
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

// encoders are kept per level, with entropy coding and without, as one is several 100 KiB of tables.
var encoders [int(zstd.SpeedBestCompression) + 1][2]sync.Pool

// encoder is one of them.
type encoder struct {
	*zstd.Encoder
	from *sync.Pool
}

func (e encoder) release() { e.from.Put(e.Encoder) }

// encoderFor gives one whose frames carry a checksum of their content, so that a damaged blob is found when it
// is read.
func encoderFor(level zstd.EncoderLevel, light bool) (encoder, error) {
	pool := &encoders[level][0]
	if light {
		pool = &encoders[level][1]
	}
	if e, ok := pool.Get().(*zstd.Encoder); ok {
		return encoder{e, pool}, nil
	}
	e, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(level),
		zstd.WithNoEntropyCompression(light),
		zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(true))
	return encoder{e, pool}, err
}
