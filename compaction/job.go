package compaction

import "github.com/stratapg/strata/page"

// Kind is what a job makes.
type Kind uint8

// What jobs make.
const (
	// Retile moves the facts of its inputs inside Rect into deltas that do not overlap. Nothing is lost.
	Retile Kind = iota
	// Image makes one image layer of Rect.Keys at the LSN Rect.LSNs.Start. Inputs is empty: it reads as everybody does.
	Image
	// Fold keeps of its inputs inside Rect what reads at the read points of Fold need: images at its lowest read point and
	// deltas above, in which images may stand.
	Fold
	// Drop removes layers that no read needs.
	Drop
	// Kinds is how many there are.
	Kinds = int(iota)
)

// String gives the kind in small letters.
func (k Kind) String() string {
	switch k {
	case Retile:
		return "retile"
	case Image:
		return "image"
	case Fold:
		return "fold"
	case Drop:
		return "drop"
	}
	return "unknown"
}

// Job is one piece of work. Layers are named by their index in the Snapshot.
type Job struct {
	Kind Kind
	// Inputs are the layers whose facts are read.
	Inputs []int
	// Rect bounds the facts that are taken from the inputs, and all outputs lie in it. The LSNs of a delta output are those of
	// its piece of Rect even where no fact is.
	Rect Rect
	// Cut makes the cutter that divides Rect into outputs. Without one there is one output, of the whole Rect.
	Cut func() Cutter
	// Obsolete are layers that are to go. Inputs go as soon as the outputs published cover them, and where these cover a part
	// of an input's keys, it is noted which (Layer.Moved); see MovedBy. Deltas that are inputs must be among them, for else they
	// would overlap the outputs. Others go with the last output.
	Obsolete []int
	// MaxRecords, if not 0, is how many records of a key may follow each other in the outputs of a Retile or
	// Fold without a page image: one is put in place of the record after them.
	MaxRecords int
	// Fold says what a Fold keeps.
	Fold *FoldSpec
	// Level is the level of the outputs where the strategy knows one (L0 is 0), for people who look at pictures.
	Level int
	// Priority orders jobs of all timelines; less is sooner. See the constants.
	Priority Priority
	Cost     Cost
	// Reason says in a few words why, with the figures that decided.
	Reason string
}

// FoldSpec says which reads the outputs of a Fold serve: those at Horizon and above, and those at Retain. Retention
// decides, key by key, what that takes. It must be told at which of these points the key is released, and of each image
// layer among the inputs that covers the key and does not have it: that is a version too, which says "does not exist".
type FoldSpec struct {
	Horizon page.LSN
	Retain  []page.LSN // ascending, below Horizon
	// Below says that facts below Rect are needed by it and stay where they are: in an ancestor, or in older layers. Then no
	// image layer may be made for keys that have no fact in Rect.
	Below bool
}

// Priority is the urgency of a job.
type Priority uint8

// Priorities.
const (
	PriorityL0 Priority = iota
	PriorityImage
	PriorityFold
	PriorityDrop
)

// Cost is an estimate in bytes.
type Cost struct{ Read, Write int64 }

// Plan is what a strategy wants done now, in this order. The outcome of a job may make a later one void;
// then the engine plans again. No jobs: there is nothing to do until the snapshot changes.
type Plan struct {
	Jobs []Job
	// ImagesChecked says that it was looked whether images are due.
	ImagesChecked bool
	// Debt says how far the timeline is from what the strategy promises.
	Debt Debt
}

// Debt is work that waits. Ingest is slowed down where Height is above Free, the more the less is left up to Limit, and stops there.
type Debt struct {
	// Bytes is what the waiting jobs will read and write.
	Bytes int64
	// Height is the number of deltas that the worst read must visit now, Limit what it may come to; a Limit of 0 is none.
	Height, Limit int
	// Free is the height up to which ingest is not slowed: where the strategy begins its work. 0 is half of Limit.
	Free int
	// Records, RecordsLimit and RecordsFree are the same for the records that the worst read must replay. FlushRecords is how
	// many of them a flush may add to those of any read: ingest stops where there is no room for them.
	Records, RecordsLimit, RecordsFree, FlushRecords int
}

// FullPace is that of ingest which nothing slows down.
const FullPace = 1000

// Pace is the part of its full speed, of FullPace, at which ingest may go on if the height is what is given.
func (d Debt) Pace(height int) int64 { return pace(height, d.Free, d.Limit) }

// PaceRecords is Pace for the records that the worst read must replay.
func (d Debt) PaceRecords(records int) int64 {
	if d.RecordsLimit <= 0 {
		return FullPace
	}
	return pace(records, d.RecordsFree, max(d.RecordsLimit-d.FlushRecords+1, 1))
}

// PaceAfter is the pace after so many flushes since the plan.
func (d Debt) PaceAfter(flushes int) int64 {
	return min(d.Pace(d.Height+flushes), d.PaceRecords(d.Records+flushes*d.FlushRecords))
}

// Unpaid is the debt where nothing can be done about it: ingest is as free as it ever is at the bounds, until
// the next plan.
func (d Debt) Unpaid() Debt {
	if d.Limit > 0 {
		free := d.Free
		if free == 0 {
			free = d.Limit / 2
		}
		d.Height = min(d.Height, free, d.Limit-1)
	}
	if d.RecordsLimit > 0 {
		d.Records = min(d.Records, d.RecordsFree, max(d.RecordsLimit-d.FlushRecords, 0))
	}
	return d
}

func pace(now, free, limit int) int64 {
	if free == 0 {
		free = limit / 2
	}
	if limit <= 0 || now <= free && now < limit {
		return FullPace
	}
	return max(0, FullPace*int64(limit-now)/int64(max(limit-free, 1)))
}

// Strategy decides what to do with the layers of a timeline.
//
// Plan must be deterministic, not change the snapshot and cost O(n log n) of its layers. Planning and doing in turns
// must come to an end: a plan without jobs. It keeps no state between calls: whatever it has
// to know stands in the snapshot, so that timelines may change their strategy at any moment. It may be called from many goroutines at once.
type Strategy interface {
	Name() string
	Plan(s *Snapshot) Plan
}
