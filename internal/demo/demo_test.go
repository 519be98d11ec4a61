package demo

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/ingest"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

const sampleDir = "../../testdata/sample"

func runDemo(t *testing.T, o *Options) (Result, string, error) {
	t.Helper()
	var log bytes.Buffer
	o.Sample, o.Work, o.Output, o.Log = sampleDir, t.TempDir(), t.TempDir(), &log
	r, err := Run(context.Background(), *o)
	return r, log.String(), err
}

func TestEveryPageIsPostgreSQLs(t *testing.T) {
	var o Options
	r, log, err := runDemo(t, &o)
	require.NoError(t, err, log)
	require.Zero(t, r.Different, log)
	for _, name := range []string{"base.tar", "layers.svg"} {
		info, err := os.Stat(filepath.Join(o.Output, name))
		require.NoError(t, err)
		require.NotZero(t, info.Size())
	}
	require.GreaterOrEqual(t, r.LSNs, 4)
	require.Greater(t, r.Pages, 1000)
}

// A record that is left out must be noticed: by pages that are not PostgreSQL's, and where a later record
// then does not fit its page, by the base backup that refuses to be made.
func TestSkippedRecordIsNoticed(t *testing.T) {
	r, log, _ := runDemo(t, &Options{ingest: func(ctx context.Context, tl *strata.Timeline, dir string) (strata.IngestResult, error) {
		s := &skipping{Store: tl}
		i, err := ingest.NewIngester(ctx, s, ingest.Options{Version: tl.Info().Version})
		if err != nil {
			return strata.IngestResult{}, err
		}
		_, err = i.Dir(ctx, dir, 0, nil)
		require.True(t, s.skipped)
		return strata.IngestResult{LSN: tl.LastRecordLSN()}, err
	}})
	require.NotZero(t, r.Different)
	require.Contains(t, log, "DIFFERENT")
}

// skipping leaves one record of a user table out of what it passes on.
type skipping struct {
	datadir.Store
	skipped bool
}

// isHotUpdate knows a record by its header (access/xlogrecord.h): it adds a tuple to the page it names.
func isHotUpdate(v *page.Value) bool {
	const infoByte, rmgrByte, opMask, hotUpdate = 16, 17, 0x70, 0x40
	return v.Kind == page.KindPostgres && !v.WillInit &&
		pg.Rmgr(v.Bytes[rmgrByte]) == pg.RmHeap && v.Bytes[infoByte]&opMask == hotUpdate
}

// firstUserOID is FirstNormalObjectId (access/transam.h).
const firstUserOID = 16384

func (s *skipping) Put(ctx context.Context, b *page.Batch) error {
	var kept page.Batch
	kept.Prev = b.Prev
	for _, e := range b.Entries() {
		v, err := page.DecodeValue(b.Data(e))
		if err != nil {
			return err
		}
		if rel, _, ok := e.Key.RelBlock(); !s.skipped && ok && rel.Rel >= firstUserOID && isHotUpdate(&v) {
			s.skipped = true
			continue
		}
		kept.PutValue(e.Key, e.LSN, &v)
	}
	kept.End = b.End
	return s.Store.Put(ctx, &kept)
}
