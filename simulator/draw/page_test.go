package draw_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction/catalog"
	"github.com/stratapg/strata/page"
	sim "github.com/stratapg/strata/simulator"
	"github.com/stratapg/strata/simulator/draw"
	"github.com/stratapg/strata/simulator/scenario"
)

// recorded are runs that a test has made already.
var recorded = map[string]*draw.Recorder{}

// record runs a scenario, small enough to be looked at, under a strategy.
func record(t *testing.T, name, strategy string) (*draw.Recorder, draw.Title) {
	c, err := scenario.Get(name)
	require.NoError(t, err)
	c = c.Scale(512)
	c.Seed, c.Checks.Off = 7, true // other tests have these runs checked
	title := draw.Title{Scenario: name, Strategy: strategy, Seed: c.Seed}
	if rec := recorded[name+strategy]; rec != nil {
		return rec, title
	}
	s, err := catalog.New(strategy)
	require.NoError(t, err)
	rec := draw.NewRecorder()
	_, err = sim.Run(t.Context(), c, s, rec.Observer())
	require.NoError(t, err)
	recorded[name+strategy] = rec
	return rec, title
}

// TestSVG compares pictures of small runs with those in testdata; STRATA_REWRITE makes them anew.
func TestSVG(t *testing.T) {
	for _, name := range []string{"hot-cold", "old-branch"} {
		for _, strategy := range []string{"legacy", "tiered"} {
			rec, title := record(t, name, strategy)
			var got bytes.Buffer
			require.NoError(t, rec.SVG(&got, title))
			file := filepath.Join("testdata", name+"-"+strategy+".svg")
			if os.Getenv("STRATA_REWRITE") != "" {
				require.NoError(t, os.WriteFile(file, got.Bytes(), 0o666))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, got.Bytes()), "%s differs; look at it after STRATA_REWRITE=1 go test ./simulator/draw", file)
		}
	}
}

// TestPageInBrowser opens the page of a run in a browser and compares what it shows with what was recorded.
func TestPageInBrowser(t *testing.T) {
	b := startBrowser(t)
	rec, title := record(t, "old-branch", "legacy")
	file := filepath.Join(t.TempDir(), "page.html")
	var page bytes.Buffer
	require.NoError(t, rec.Page(&page, title))
	require.NoError(t, os.WriteFile(file, page.Bytes(), 0o666))
	b.open(file)

	shown := func() (live []int) {
		b.eval(`[...document.querySelectorAll("#sheet rect:not(.off)")].map(e => Number(e.dataset.layer)).sort((a, b) => a - b)`, &live)
		return live
	}
	at := func(n int) []int { return append([]int{}, rec.At(n).Live...) }
	press := func(key string) {
		b.eval(`document.dispatchEvent(new KeyboardEvent("keydown", {key: "`+key+`", bubbles: true}))`, nil)
	}
	n := rec.Events()
	require.Greater(t, n, 100)
	require.Equal(t, at(n), shown(), "after loading")

	slide := func(event int) {
		b.eval(`slider.value = `+strconv.Itoa(event)+`; slider.dispatchEvent(new Event("input"))`, nil)
		state := rec.At(event)
		require.Equal(t, at(event), shown(), "event %d of %d", event, n)
		var marks int
		b.eval(`document.querySelectorAll("#sheet line.branch").length`, &marks)
		require.Len(t, state.Branches, marks, "branches at event %d", event)
		want, got := [][2]uint64{}, [][2]uint64{}
		for _, r := range state.Reads {
			want = append(want, [2]uint64{uint64(r.Key), uint64(r.LSN)})
		}
		b.eval(`[...document.querySelectorAll("#sheet ellipse.read")].map(e => [Number(e.dataset.key), Number(e.dataset.lsn)])`, &got)
		require.Equal(t, want, got, "reads at event %d", event)
	}
	require.NotEmpty(t, rec.At(n).Reads)
	require.NotEqual(t, rec.At(n/2).Reads, rec.At(n).Reads)
	// Ten is less than nine where they are compared as text.
	for _, event := range []int{1, n / 2, n, 9, 10, 0, n - 1, 100, 99} {
		slide(event)
	}
	b.dark(true)
	for _, event := range []int{1, n / 2, n} {
		slide(event)
	}
	b.dark(false)
	press("Home")
	require.Empty(t, shown())
	press("ArrowRight")
	require.Equal(t, at(1), shown())
	press("End")
	press("ArrowLeft")
	require.Equal(t, at(n-1), shown())

	press("Home")
	b.eval(`el("speed").value = "240"; el("play").click(); el("play").click(); el("play").click(); 1`, nil)
	b.eval(`new Promise(done => { const wait = () => pos >= N ? done(1) : setTimeout(wait, 50); wait(); })`, nil)
	require.Equal(t, at(n), shown(), "played to the end")

	var tip string
	b.eval(`(() => { const r = document.querySelector("#sheet rect:not(.off)"); r.dispatchEvent(new PointerEvent("pointermove", {bubbles: true, clientX: 50, clientY: 50})); return el("tip").innerText; })()`, &tip)
	require.Contains(t, tip, "__")
	require.Contains(t, tip, "MiB")

	var colours [2][2]string
	for i, dark := range []bool{false, true} {
		b.dark(dark)
		b.eval(`[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]`, &colours[i])
		require.NotEqual(t, colours[i][0], colours[i][1], "text that can be read")
		if dir := os.Getenv("STRATA_SCREENSHOTS"); dir != "" {
			b.screenshot(filepath.Join(dir, []string{"light.png", "dark.png"}[i]))
		}
	}
	require.NotEqual(t, colours[0], colours[1], "light and dark")
	require.Empty(t, b.faults())
}

// TestBrowserSeesFaults shows that a page that fails is noticed.
func TestBrowserSeesFaults(t *testing.T) {
	b := startBrowser(t)
	file := filepath.Join(t.TempDir(), "page.html")
	require.NoError(t, os.WriteFile(file, []byte(`<script>fetch("http://127.0.0.1:9/"); nowhere()</script>`), 0o666))
	b.open(file)
	require.GreaterOrEqual(t, len(b.faults()), 2)
}

// TestReadsDrawn: reads of times all over a run are drawn, a few of each time, however many there are.
func TestReadsDrawn(t *testing.T) {
	rec := draw.NewRecorder()
	watch := rec.Observer()
	const times, some = 5000, 12
	for i := range times {
		at := time.Duration(i)
		watch.Mark(at, sim.Mark{Kind: "branch", LSN: page.LSN(i + 1)})
		for k := range 64 {
			watch.Mark(at, sim.Mark{Kind: "read", Key: uint32(i), LSN: page.LSN(k + 1)})
		}
	}
	require.Equal(t, times, rec.Events())
	for _, n := range []int{1, 100, times / 2, times} {
		reads := rec.At(n).Reads
		require.Len(t, reads, some, "event %d", n)
		require.InDelta(t, n, int(reads[0].Key), 32, "event %d", n)
		require.Less(t, int(reads[0].Key), n, "event %d: reads that come later", n)
		require.Equal(t, page.LSN(some), reads[some-1].LSN)
	}
	var out bytes.Buffer
	require.NoError(t, rec.Page(&out, draw.Title{}))
	require.Less(t, out.Len(), 1<<20)
}
