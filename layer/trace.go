package layer

import (
	"context"
	"fmt"
	"strings"

	"github.com/stratapg/strata/page"
)

// maxPath is how many of the layers asked a Collector remembers; the rest are counted.
const maxPath = 64

// Visited is one layer that a read has asked.
type Visited struct {
	// Layer is the name, or "memory".
	Layer string
	// LSNs is what it was asked for.
	LSNs page.LSNRange
	// Found counts the values that it gave.
	Found int
}

// Trace says what a read did. One given to WithTrace is filled by the reads under that context, one after
// the other.
type Trace struct {
	// Visited are the layers asked, in order, and More counts those that were not noted.
	Visited []Visited
	More    int
	// IndexBlocks counts blocks searched, IndexLoads those of them that were not in memory.
	IndexBlocks, IndexLoads int
	// Rounds counts batches of reads for values, Reads the reads in them, SumLoads those of them that were
	// for checksums, Bytes their sizes.
	Rounds, Reads, SumLoads int
	Bytes                   int64
}

// String gives one line for each layer, and one for the numbers.
func (t *Trace) String() string {
	var b strings.Builder
	for _, v := range t.Visited {
		fmt.Fprintf(&b, "%s for LSNs %s: %d values\n", v.Layer, v.LSNs, v.Found)
	}
	if t.More > 0 {
		fmt.Fprintf(&b, "and %d layers more\n", t.More)
	}
	fmt.Fprintf(&b, "%d index blocks, %d of them read; %d rounds of %d reads (%d for checksums), %d bytes",
		t.IndexBlocks, t.IndexLoads, t.Rounds, t.Reads, t.SumLoads, t.Bytes)
	return b.String()
}

type traceKey struct{}

// WithTrace makes the reads under the context note in t what they do. t must not be used by two at once.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// TraceOf gives what WithTrace has put into ctx, or nil.
func TraceOf(ctx context.Context) *Trace {
	t, _ := ctx.Value(traceKey{}).(*Trace)
	return t
}

// readPath is what a Collector knows of how it came to its values. It costs next to nothing, so that every
// error can tell.
type readPath struct {
	visits                  []visited
	more                    int
	indexBlocks, indexLoads int
	rounds, reads, sumLoads int
	bytes                   int64
}

type visited struct {
	desc  *Desc // nil for one in memory
	lsns  page.LSNRange
	found int // values of the Collector when the visit began
}

func (p *readPath) reset() {
	clear(p.visits)
	*p = readPath{visits: p.visits[:0]}
}

// visit notes that a layer is asked next.
func (c *Collector) visit(v visited) {
	if v.found = len(c.values); len(c.path.visits) == maxPath {
		c.path.more++
		return
	}
	c.path.visits = append(c.path.visits, v)
}

// Trace adds to t what the Collector did so far.
func (c *Collector) Trace(t *Trace) {
	p := &c.path
	for i, v := range p.visits {
		found := len(c.values)
		if i+1 < len(p.visits) {
			found = p.visits[i+1].found
		}
		name := "memory"
		if v.desc != nil {
			name = v.desc.Name()
		}
		t.Visited = append(t.Visited, Visited{name, v.lsns, found - v.found})
	}
	t.More += p.more
	t.IndexBlocks += p.indexBlocks
	t.IndexLoads += p.indexLoads
	t.Rounds += p.rounds
	t.Reads += p.reads
	t.SumLoads += p.sumLoads
	t.Bytes += p.bytes
}

// noteRound counts what Fetch is about to read.
func (c *Collector) noteRound() {
	f, p := &c.fetch, &c.path
	p.rounds++
	p.reads += len(f.reads)
	p.sumLoads += len(f.reads) - len(f.spans)
	for i := range f.reads {
		p.bytes += int64(f.reads[i].Len)
	}
}
