package timeline

import (
	"sync/atomic"
	"time"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
)

// CompactionInfo describes a job of compaction. Begin, progress and end share a JobID.
type CompactionInfo struct {
	JobID    uint64
	Tenant   page.TenantID
	Timeline page.TimelineID
	Strategy string
	Kind     compaction.Kind
	Rect     compaction.Rect
	Reason   string
	// Inputs is how many layers are read, TotalBytes about how much will be read, 0 if unknown; BytesRead is how
	// much has been, BytesWritten the size of what was published, and Left an estimate, 0 if there is none.
	Inputs                              int
	TotalBytes, BytesRead, BytesWritten int64
	Left                                time.Duration
	// Outputs and Removed count layers published and removed so far, Moved those of which a part is done.
	Outputs, Removed, Moved int
	Duration                time.Duration
	Err                     error // at the end
}

// Percent is how much has been done, as far as that is known.
func (i *CompactionInfo) Percent() int {
	if i.TotalBytes <= 0 {
		return 0
	}
	return int(min(100*i.BytesRead/i.TotalBytes, 100))
}

// progress follows a job. It may be told by many goroutines.
type progress struct {
	t      *Timeline
	info   CompactionInfo // what does not change
	begun  time.Time
	total  int64
	done   atomic.Int64
	told   atomic.Int64 // of done, when the last event was
	wrote  atomic.Int64
	made   atomic.Int64
	gone   atomic.Int64
	moved  atomic.Int64
	listen func(CompactionInfo) // of the caller who waits for the job; may be nil
}

// progressSteps is how many events of progress a job gives, about.
const progressSteps = 100

// read notes that so many bytes have been read.
func (p *progress) read(bytes int) {
	done := p.done.Add(int64(bytes))
	step := max(p.total/progressSteps, backgroundTransfer)
	if told := p.told.Load(); done-told >= step && p.told.CompareAndSwap(told, done) {
		p.tell(p.t.env.Events.CompactionProgress, nil)
	}
}

// published notes what a publication has added and removed.
func (p *progress) published(outs []output, removed, moved int) {
	for i := range outs {
		if n := outs[i].desc.Size; n > 0 {
			p.wrote.Add(n)
			p.made.Add(1)
		}
	}
	p.gone.Add(int64(removed))
	p.moved.Add(int64(moved))
}

// now describes the job as it is.
func (p *progress) now(err error) CompactionInfo {
	i := p.info
	i.TotalBytes, i.BytesRead, i.BytesWritten = p.total, p.done.Load(), p.wrote.Load()
	i.Outputs, i.Removed, i.Moved = int(p.made.Load()), int(p.gone.Load()), int(p.moved.Load())
	i.Duration, i.Err = p.t.env.Clock().Sub(p.begun), err
	if i.BytesRead > 0 && i.BytesRead < i.TotalBytes {
		i.Left = time.Duration(float64(i.Duration) * float64(i.TotalBytes-i.BytesRead) / float64(i.BytesRead))
	}
	return i
}

func (p *progress) tell(event func(CompactionInfo), err error) {
	if event != nil {
		event(p.now(err))
	}
	if p.listen != nil {
		p.listen(p.now(err))
	}
}
