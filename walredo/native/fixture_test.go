package native

import (
	"bytes"
	"context"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
	"github.com/stratapg/strata/walredo"
	"github.com/stratapg/strata/walredo/walredotest"
)

func TestShortRequestGivesNeonsPage(t *testing.T) {
	want, err := os.ReadFile(testkit.Fixture(t, "short_v14_redo.page"))
	require.NoError(t, err)
	got, err := New().Redo(context.Background(), nil, walredotest.Requests(t)["short"])
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// The medium request fills a page with 226 tuples of one bigint column and ends with an image of the page.
func TestMediumRequestEqualsItsLastImage(t *testing.T) {
	req := walredotest.Requests(t)["medium"]
	last := len(req.Records) - 1
	whole, err := New().Redo(context.Background(), nil, req)
	require.NoError(t, err)

	req.Records = req.Records[:last]
	got, err := New().Redo(context.Background(), []byte("before"), req)
	require.NoError(t, err)
	require.Equal(t, "before", string(got[:6]))
	p := bufpage.Page(got[6:])
	require.Equal(t, 226, p.MaxOffset())
	require.Equal(t, req.Records[last-1].LSN, p.LSN())
	for n := 1; n <= p.MaxOffset(); n++ {
		item, err := p.Item(n)
		require.NoError(t, err)
		require.Equal(t, uint64(n-1), le.Uint64(item[24:]), "tuple %d", n)
	}
	// Until VACUUM wrote the image, hint bits and the flag of a page that all see were set without WAL.
	w := bufpage.Page(whole)
	require.Equal(t, p[bufpage.HeaderSize:p.Lower()], w[bufpage.HeaderSize:w.Lower()])
}

func TestRecordForAnotherPageIsRefused(t *testing.T) {
	req := walredotest.Requests(t)["short"]
	req.Key.F3++
	out, err := New().Redo(context.Background(), []byte("x"), req)
	require.ErrorIs(t, err, walredo.ErrCorrupt)
	require.Equal(t, "x", string(out))
	var e *walredo.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, req.Records[0].LSN, e.LSN)
}

func TestNoBase(t *testing.T) {
	req := walredotest.Requests(t)["medium"]
	req.Records = req.Records[1:]
	_, err := New().Redo(context.Background(), nil, req)
	require.ErrorIs(t, err, walredo.ErrNoBase)
	req.Records = nil
	_, err = New().Redo(context.Background(), nil, req)
	require.ErrorIs(t, err, walredo.ErrNoBase)
}

func TestUnknownVersion(t *testing.T) {
	for _, v := range []int{-1, 0, 13, 18, 1 << 40} {
		req := walredotest.Requests(t)["short"]
		req.Version = pg.Version(v)
		_, err := New().Redo(context.Background(), nil, req)
		require.ErrorIs(t, err, walredo.ErrUnsupported, "version %d", v)
	}
}

func TestNothingAllocated(t *testing.T) {
	r := New()
	for name, req := range walredotest.Requests(t) {
		buf := make([]byte, 0, 16<<10)
		allocs := testing.AllocsPerRun(100, func() {
			if _, err := r.Redo(context.Background(), buf, req); err != nil {
				t.Fatal(err)
			}
		})
		// The race detector makes the pool forget now and then.
		require.Less(t, allocs, 2.0, name)
	}
}

func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := New().Redo(ctx, nil, &walredo.Request{Key: page.Key{}})
	require.ErrorIs(t, err, context.Canceled)
}

// Many goroutines share one Redoer; what they hand in stays as it is.
func TestConcurrentUse(t *testing.T) {
	r := New()
	want := map[string][]byte{}
	requests := walredotest.Requests(t)
	for name, req := range requests {
		p, err := r.Redo(context.Background(), nil, req)
		require.NoError(t, err)
		want[name] = p
	}
	base := append([]byte(nil), want["medium"]...)
	short := *requests["short"]
	short.Records = nil
	short.Base = base
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				for name, req := range requests {
					p, err := r.Redo(context.Background(), make([]byte, 3, 100), req)
					if err != nil || !bytes.Equal(p[3:], want[name]) {
						t.Errorf("%s: another page, or %v", name, err)
					}
				}
				if p, err := r.Redo(context.Background(), nil, &short); err != nil || !bytes.Equal(p, base) {
					t.Errorf("no records: another page, or %v", err)
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, want["medium"], base)
	require.NoError(t, r.Close())
	require.NoError(t, r.Close())
}
