package simulator

import (
	"fmt"
	"time"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/simulator/mock"
	"github.com/stratapg/strata/simulator/trace"
	"github.com/stratapg/strata/simulator/workload"
)

// Config describes a run but for its strategy. Zero values switch things off or are defaults.
type Config struct {
	Name  string `json:"name"`
	About string `json:"about,omitempty"`
	Seed  uint64 `json:"seed"`

	// Regions are the keys, in order. Preload says that all that exists at the start is there as images.
	Regions []Region `json:"regions"`
	Preload bool     `json:"preload,omitempty"`
	Phases  []Phase  `json:"phases"`

	// Options are the strategy's; zeros are its defaults.
	Options compaction.Options `json:"options"`
	// Bandwidth is what compaction may read and write, in bytes a second of simulated time; 0 is no limit.
	Bandwidth int64 `json:"bandwidth,omitempty"`
	// FlushAfter is the age at which memory is flushed however small it is; 0 is never.
	FlushAfter Duration `json:"flush_after,omitempty"`

	// GCPeriod is how often garbage is collected, 0 never. The cutoff is Horizon bytes below the newest record and PITR ago,
	// whichever is lower.
	GCPeriod Duration `json:"gc_period,omitempty"`
	Horizon  int64    `json:"horizon,omitempty"`
	PITR     Duration `json:"pitr,omitempty"`

	Branches Branches `json:"branches"`
	Reads    Reads    `json:"reads"`
	// Restarts of 1000 are the points of the run, by WAL, at which the engine is killed and started again.
	Restarts []int `json:"restarts,omitempty"`
	// Checks is how much is checked.
	Checks Checks `json:"checks"`

	// Trace, if set, is what is taken in: one Region and one Phase without Streams stand for its keys and records.
	Trace *trace.Trace `json:"-"`
}

// Region is a stretch of keys: so many relations of so many blocks.
type Region struct {
	Name string `json:"name"`
	// Relations is how many there are; 0 is one.
	Relations int `json:"relations,omitempty"`
	// Blocks is how many each has at the start, Room how many it may come to have; 0 is Blocks.
	Blocks uint32 `json:"blocks,omitempty"`
	Room   uint32 `json:"room,omitempty"`
	// Sparse regions are metadata: ImageBytes is the size of a value then.
	Sparse     bool   `json:"sparse,omitempty"`
	ImageBytes uint32 `json:"image_bytes,omitempty"`
	// Hot of 1000 keys, the first ones, are measured apart from the others.
	Hot int `json:"hot,omitempty"`
}

// Phase is a part of the run with one kind of load.
type Phase struct {
	Name    string            `json:"name,omitempty"`
	Records int64             `json:"records,omitempty"`
	Streams []workload.Stream `json:"streams,omitempty"`
	// Rate is the WAL's bytes a second as long as compaction keeps up.
	Rate int64 `json:"rate,omitempty"`
	// Idle follows the records.
	Idle Duration `json:"idle,omitempty"`
	// Resize happens at the beginning.
	Resize []Resize `json:"resize,omitempty"`
	// Repeat is how many times the phase is done; 0 is once.
	Repeat int `json:"repeat,omitempty"`
}

// Resize gives the relations of a region another length.
type Resize struct {
	Region int    `json:"region"`
	Blocks uint32 `json:"blocks"`
}

// Branches says when branches are made and dropped, by WAL.
type Branches struct {
	// At of 1000 are points of the run at which branches are made that stay.
	At []int `json:"at,omitempty"`
	// Every is the WAL between others, of which the newest Keep stay; 0 is none.
	Every int64 `json:"every,omitempty"`
	Keep  int   `json:"keep,omitempty"`
	// Covered of 1000 of those dropped are not dropped: their children cover all keys but the first half themselves.
	Covered int `json:"covered,omitempty"`
}

// Reads says what is read while the run goes on.
type Reads struct {
	// Number is how many reads are tried in each of about 400 equal times of the run; 0 is none.
	Number int `json:"number,omitempty"`
	// Keys are chosen so; the zero is uniform over everything.
	Keys workload.Keys `json:"keys"`
	// Old of 1000 reads are at an LSN above the cutoff instead of the newest, Branch of 1000 at a branch.
	Old    int `json:"old,omitempty"`
	Branch int `json:"branch,omitempty"`
}

// Checks says what is checked beside the safety checks of compaction, which always are.
type Checks struct {
	// Off leaves out the counting of references and the checks of reads.
	Off bool `json:"off,omitempty"`
	// Full, if n, checks every record and every read point at the first, the last and each n-th publication; 0 is the last alone.
	Full int `json:"full,omitempty"`
}

// Duration is a time.Duration that is text in JSON.
type Duration time.Duration

// MarshalText gives Go's form.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads Go's form.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

// startLSN is where timelines begin, as in Neon's mock.
const startLSN = page.LSN(1000)

// Tables are numbered from here.
const (
	tablespace    = 1663
	database      = 5
	firstRelation = 16384
)

// space makes the keys; first gives, for each Region, its first region in the space.
func (c *Config) space() (s *mock.Space, first []int, err error) {
	if c.Trace != nil {
		s, err = c.traced()
		return s, []int{0, len(c.Trace.Regions)}, err
	}
	var all []mock.Region
	relation, sparse := uint32(firstRelation), uint32(0)
	for _, r := range c.Regions {
		first = append(first, len(all))
		for range max(r.Relations, 1) {
			m := mock.Region{Blocks: r.Blocks, Room: max(r.Room, r.Blocks), Sparse: r.Sparse, ImageBytes: r.ImageBytes}
			if r.Sparse {
				m.First = page.AuxRange.Start
				m.First.F2, m.Blocks = sparse, 0
				sparse++
			} else {
				m.First = page.RelTag{Spc: tablespace, DB: database, Rel: relation}.Block(0)
				relation++
			}
			all = append(all, m)
		}
	}
	s, err = mock.NewSpace(all)
	return s, append(first, len(all)), err
}

// traced makes the keys of a trace. All are there from the beginning.
func (c *Config) traced() (*mock.Space, error) {
	var all []mock.Region
	for i, r := range c.Trace.Regions {
		first, err := page.ParseKey(r.First)
		if err != nil {
			return nil, fmt.Errorf("region %d of the trace: %w", i, err)
		}
		m := mock.Region{First: first, Room: r.Keys, Blocks: r.Keys, Sparse: r.Sparse}
		if r.Sparse {
			m.First, m.Blocks, m.ImageBytes = page.AuxRange.Start, 0, sparseImage
		}
		all = append(all, m)
	}
	return mock.NewSpace(all)
}

// sparseImage is what an image of a key of metadata takes, of which a trace does not tell the size.
const sparseImage = 400

// Records is how many records the run takes in.
func (c *Config) Records() int64 {
	n := int64(0)
	for _, p := range c.Phases {
		n += p.Records * int64(max(p.Repeat, 1))
	}
	return n
}

// expectation gives the WAL of the run and how long it takes if nothing stalls.
func (c *Config) expectation() (bytes int64, d time.Duration) {
	for i := range c.Phases {
		p := &c.Phases[i]
		n := c.bytes(p) * int64(max(p.Repeat, 1))
		bytes += n
		if p.Rate > 0 {
			d += time.Duration(n / (p.Rate/int64(time.Second/time.Microsecond) + 1) * int64(time.Microsecond))
		}
		d += time.Duration(p.Idle) * time.Duration(max(p.Repeat, 1))
	}
	return bytes, d
}

// bytes is the expected WAL of one round of a phase.
func (c *Config) bytes(p *Phase) int64 {
	if c.Trace != nil {
		return c.Trace.Bytes
	}
	weight, sum := int64(0), int64(0)
	for i := range p.Streams {
		w := int64(max(p.Streams[i].Weight, 1))
		weight += w
		sum += w * p.Streams[i].MeanSize()
	}
	if weight == 0 {
		return 0
	}
	return p.Records * sum / weight
}

// Validate reports what cannot be run.
func (c *Config) Validate() error {
	if len(c.Regions) == 0 {
		return fmt.Errorf("scenario %s: no regions of keys", c.Name)
	}
	if t := c.Trace; t != nil && (len(c.Regions) != 1 || len(c.Phases) != 1 || c.Records() != int64(len(t.Records)) || len(t.Records) == 0) {
		return fmt.Errorf("scenario %s: a trace of %d records needs one region and one phase that takes them in", c.Name, len(t.Records))
	}
	if n := c.Records(); n <= 0 || n >= 1<<32-1 {
		return fmt.Errorf("scenario %s: %d records; there must be some, and fewer than 2^32", c.Name, n)
	}
	for i, p := range c.Phases {
		if p.Records > 0 && (p.Rate <= 0 || len(p.Streams) == 0 && c.Trace == nil) {
			return fmt.Errorf("scenario %s: phase %d takes in records and needs a rate and streams", c.Name, i)
		}
	}
	return c.Options.Validate()
}

// Scale makes everything n times smaller that is counted in bytes, keys or records, so that layers have the same shape.
func (c Config) Scale(n int64) Config {
	if n <= 1 || c.Trace != nil {
		return c // a trace is as large as it is
	}
	down := func(v int64) int64 {
		if v == 0 {
			return 0
		}
		return max(v/n, 1)
	}
	regions := make([]Region, len(c.Regions))
	for i, r := range c.Regions {
		r.Blocks, r.Room = uint32(down(int64(r.Blocks))), uint32(down(int64(r.Room)))
		regions[i] = r
	}
	phases := make([]Phase, len(c.Phases))
	for i, p := range c.Phases {
		p.Records, p.Rate = down(p.Records), down(p.Rate)
		resize := make([]Resize, len(p.Resize))
		for k, r := range p.Resize {
			resize[k] = Resize{r.Region, uint32(down(int64(r.Blocks)))}
		}
		p.Resize = resize
		streams := append([]workload.Stream(nil), p.Streams...)
		for k := range streams {
			streams[k].Keys.Limit = uint32(down(int64(streams[k].Keys.Limit)))
		}
		p.Streams = streams
		phases[i] = p
	}
	c.Regions, c.Phases = regions, phases
	o := c.Options.WithDefaults()
	o.MaxRecords = c.Options.MaxRecords // 0 is no bound here
	o.CheckpointDistance, o.CompactionTargetSize, o.FoldMinBytes = down(o.CheckpointDistance), down(o.CompactionTargetSize), down(o.FoldMinBytes)
	c.Options = o
	c.Bandwidth, c.Horizon, c.Branches.Every = down(c.Bandwidth), down(c.Horizon), down(c.Branches.Every)
	return c
}
