package manage

import (
	"maps"
	"slices"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/page"
)

// auxRequest and auxListRequest are Neon's IngestAuxFilesRequest and ListAuxFilesRequest.
type (
	auxRequest struct {
		Files map[string]string `json:"aux_files"`
	}
	auxListRequest struct {
		LSN page.LSN `json:"lsn"`
	}
)

// recordSize is how long the record would be that the files come by: the shortest that WAL knows.
const recordSize = 24

func (c *call) ingestAux(r *auxRequest) (none, error) {
	if !c.s.c.Testing {
		return none{}, badRequest("it changes the timeline without WAL, which a server for tests alone allows: strata serve --testing")
	}
	tl, err := c.timeline()
	if err != nil {
		return none{}, err
	}
	c.s.aux.Lock() // a timeline has one writer
	defer c.s.aux.Unlock()
	return none{}, putAux(c, tl, r.Files)
}

func putAux(c *call, tl *strata.Timeline, files map[string]string) error {
	m := datadir.NewModification(tl, tl.Info().Version, 0)
	start := m.LSN()
	if err := m.Begin(datadir.RecordSpan{Start: start, End: start + recordSize}); err != nil {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		if err := m.PutAuxFile(c.Context(), path, []byte(files[path])); err != nil {
			return err
		}
	}
	m.End()
	return m.Commit(c.Context())
}

// listAux gives each file as the list of its bytes, which is how Neon's client reads them.
func (c *call) listAux(r *auxListRequest) (map[string][]uint16, error) {
	tl, err := c.timeline()
	if err != nil {
		return nil, err
	}
	files, err := tl.Cluster(min(r.LSN, tl.LastRecordLSN())).AuxFiles(c.Context())
	if err != nil {
		return nil, err
	}
	out := make(map[string][]uint16, len(files))
	for _, f := range files {
		out[f.Path] = make([]uint16, len(f.Content)) // not bytes, which encoding/json writes as base64
		for i, b := range f.Content {
			out[f.Path][i] = uint16(b)
		}
	}
	return out, nil
}
