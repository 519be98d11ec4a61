package index

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/stratapg/strata/page"
)

// Import is what the index says of an import that is not finished, beside the layers of the jobs that are done.
type Import struct {
	Begun time.Time `json:"begun"`
	// Plan is the plan's digest, Jobs how many jobs it has; empty and 0 before there is one.
	Plan string `json:"plan,omitempty"`
	Jobs int    `json:"jobs,omitempty"`
	// Done are the jobs that are done, by their numbers.
	Done []ImportedJob `json:"done,omitempty"`
	// Files were put beside the layers by whoever imports, and are objects now.
	Files []ImportFile `json:"files,omitempty"`
}

// ImportedJob is a job that is done.
type ImportedJob struct {
	Job       int   `json:"job"`
	Relations int64 `json:"relations"`
	Pages     int64 `json:"pages"`
	// Layers are the names of those that it made.
	Layers []string `json:"layers,omitempty"`
	// Suspect are pages whose checksum was wrong.
	Suspect []page.Key `json:"suspect,omitempty"`
}

// ImportFile is an object of a timeline that is no layer and no index.
type ImportFile struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
	Sum  Sum    `json:"xxh64"`
}

// MarshalText gives the digits.
func (s Sum) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%0*x", sumDigits, uint64(s)), nil
}

// UnmarshalText reads them.
func (s *Sum) UnmarshalText(b []byte) (err error) {
	*s, err = parseSum(string(b))
	return err
}

// fieldImport is Neon's mark of a timeline that is made of a cluster's files
// (pageserver/src/tenant/timeline/import_pgdata/index_part_format.rs). While it says InProgress nobody may read the timeline, here
// or there.
const fieldImport = "import_pgdata"

type importMark struct {
	V1 struct {
		InProgress *importRun `json:",omitempty"`
		Done       *importRun `json:",omitempty"`
	}
}

type importRun struct {
	Key        string          `json:"idempotency_key"`
	Location   *importLocation `json:"location,omitempty"`
	StartedAt  naiveTime       `json:"started_at"`
	FinishedAt *naiveTime      `json:"finished_at,omitempty"`
}

// importLocation is where Neon would import from. Where Strata does is told with each import; the mark must name something.
type importLocation struct {
	AwsS3 struct {
		Region string `json:"region"`
		Bucket string `json:"bucket"`
		Key    string `json:"key"`
	}
}

// Importing says whether the timeline is being imported still. A mark that is not understood counts as one of that.
func (p *Part) Importing() bool {
	raw, ok := p.Rest[fieldImport]
	if !ok || string(raw) == "null" {
		return false
	}
	var m importMark
	err := json.Unmarshal(raw, &m)
	return err != nil || m.V1.Done == nil
}

// BeginImport marks the timeline as one that is being imported.
func (p *Part) BeginImport(key string, at time.Time) error {
	m := importMark{}
	m.V1.InProgress = &importRun{Key: key, Location: &importLocation{}, StartedAt: naiveTime(at)}
	m.V1.InProgress.Location.AwsS3.Key = "strata import --resume"
	return p.setMark(&m)
}

// EndImport says that the import is finished, if the timeline is one that is being imported.
func (p *Part) EndImport(at time.Time) error {
	raw, ok := p.Rest[fieldImport]
	if !ok {
		return nil
	}
	var m importMark
	if err := json.Unmarshal(raw, &m); err != nil {
		return fmt.Errorf("%s: %w", fieldImport, err)
	}
	run := m.V1.InProgress
	if run == nil {
		return nil
	}
	end := naiveTime(at)
	run.Location, run.FinishedAt = nil, &end
	m.V1.InProgress, m.V1.Done = nil, run
	return p.setMark(&m)
}

func (p *Part) setMark(m *importMark) error {
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("%s: %w", fieldImport, err)
	}
	p.Rest[fieldImport] = b
	return nil
}
