package stats

import "time"

// MB is what files are counted in.
const MB = 1 << 20

// Result is what one run came to. All but the times that Plan and the run took on this machine depends on the Config and the
// strategy alone.
type Result struct {
	Scenario string `json:"scenario"`
	Strategy string `json:"strategy"`
	Seed     uint64 `json:"seed"`
	// Bound is the deltas per read that the strategy was asked to keep to, 0 for its default.
	Bound   int   `json:"bound,omitempty"`
	Records int64 `json:"records"`

	WALMB        int64   `json:"wal_mb"`
	CreatedMB    int64   `json:"created_mb"`
	DeletedMB    int64   `json:"deleted_mb"`
	FilesCreated int64   `json:"files_created"`
	FilesDeleted int64   `json:"files_deleted"`
	WriteAmp     float64 `json:"write_amp"`
	StorageAmp   float64 `json:"storage_amp"`
	// SpaceAmp is the bytes kept at the end over those of all pages.
	SpaceAmp float64 `json:"space_amp"`

	// Deltas per read, as ReadDeltas has them too.
	ReadAmpMean float64 `json:"read_amp_mean"`
	ReadAmpP99  int     `json:"read_amp_p99"`
	ReadAmpMax  int     `json:"read_amp_max"`
	RecordsP99  int     `json:"records_per_read_p99"`

	Reads       int64  `json:"reads"`
	ReadDeltas  Spread `json:"read_deltas"`
	ReadLayers  Spread `json:"read_layers"`
	ReadRecords Spread `json:"read_records"`

	// Written is bytes by kind: flush, retile, image, fold. Areas is the cost by part of the keys.
	Written map[string]int64 `json:"written"`
	Areas   []Area           `json:"areas,omitempty"`

	// StallSeconds is the time that ingest waited for compaction, SimSeconds all the time of the run, simulated both.
	StallSeconds float64 `json:"stall_seconds"`
	SimSeconds   float64 `json:"sim_seconds"`
	// MaxDebtBytes and MaxHeight are the worst that a plan said of itself.
	MaxDebtBytes int64 `json:"max_debt_bytes"`
	MaxHeight    int   `json:"max_height"`
	Jobs         int   `json:"jobs"`
	Layers       Count `json:"layers"`
	MaxLayers    int   `json:"max_layers"`

	// Hash is over all that the run did, layer by layer.
	Hash string `json:"hash"`

	// Plan is what planning took, Seconds the whole run, both on this machine.
	Plan    PlanCost `json:"plan"`
	Seconds float64  `json:"seconds"`

	Series []Point `json:"series,omitempty"`
	Error  string  `json:"error,omitempty"`
}

// PlanCost is what planning took.
type PlanCost struct {
	Plans int           `json:"plans"`
	Time  time.Duration `json:"ns"`
	// MaxLayers is the largest snapshot, Bytes what the largest plan holds, counted.
	MaxLayers int   `json:"max_layers"`
	Bytes     int64 `json:"bytes"`
	// HeapBytes is what planning for the largest snapshot allocates, measured on this machine; 0 is not measured.
	HeapBytes int64 `json:"heap_bytes,omitempty"`
}

// Area is a part of the keys, hot or cold.
type Area struct {
	Name      string  `json:"name"`
	WALMB     int64   `json:"wal_mb"`
	WrittenMB int64   `json:"written_mb"`
	WriteAmp  float64 `json:"write_amp"`
	Deltas    Spread  `json:"deltas"`
}

// Count is layers by kind.
type Count struct {
	L0     int `json:"l0"`
	Deltas int `json:"deltas"`
	Images int `json:"images"`
}

// Point is the state at one time of the run.
type Point struct {
	Seconds    float64 `json:"s"`
	WALMB      int64   `json:"wal"`
	L0         int     `json:"l0"`
	Deltas     int     `json:"deltas"`
	Images     int     `json:"images"`
	LiveMB     int64   `json:"live"`
	WriteAmp   float64 `json:"wa"`
	ReadMean   float64 `json:"rm"`
	ReadMax    int     `json:"rx"`
	RecordsMax int     `json:"rr"`
	DebtMB     int64   `json:"debt"`
	Height     int     `json:"height"`
	Stall      float64 `json:"stall"`
}
