package statuspage

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"time"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/inspect/draw"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pageserver/tally"
)

//go:embed page.html
var text string

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"bytes": func(n int64) string { return sizeText(n) },
	"short": func(id fmt.Stringer) string { return id.String()[:8] },
}).Parse(text))

// Page renders. Its methods may be called from many goroutines.
type Page struct {
	engine *strata.Engine
	meters []*meter
}

// New makes the page of an engine; counts are what its services have been asked for, by the name of their protocol.
func New(engine *strata.Engine, counts map[string]*tally.Counts) *Page {
	p := &Page{engine: engine}
	for name, c := range counts {
		p.meters = append(p.meters, newMeter(name, c))
	}
	sortMeters(p.meters)
	return p
}

// sizeText gives a number of bytes as people read it.
func sizeText(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/unit, 0
	for ; f >= unit && i < 4; i++ {
		f /= unit
	}
	return fmt.Sprintf("%.1f %ciB", f, "KMGTP"[i])
}

// render writes a template's page, or the error that it met.
func render(w http.ResponseWriter, name string, data any) error {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, data); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src 'self'")
	_, _ = w.Write(b.Bytes()) // whoever asked is gone
	return nil
}

// Home writes the page of all tenants; with live only what changes.
func (p *Page) Home(w http.ResponseWriter, r *http.Request) error {
	data := struct {
		Store   strata.StoreInfo
		At      string
		Traffic []traffic
		Tenants []tenantRow
	}{p.engine.Info(), time.Now().UTC().Format(time.DateTime), p.traffic(time.Now()), p.tenants(r.Context())}
	name := "home"
	if r.URL.Query().Has("live") {
		name = "live"
	}
	return render(w, name, data)
}

// Timeline writes the page of one timeline, with the drawing of its layers.
func (p *Page) Timeline(w http.ResponseWriter, r *http.Request, t *strata.Tenant, tl *strata.Timeline) error {
	row := timelineRow{Status: strata.TimelineStatus{ID: tl.Info().ID, Name: tl.Info().Name}}
	info := tl.Info()
	row.Status.Info = &info
	row.fill(tl)
	layers := tl.Layers()
	const drawn = 20_000
	truncated := len(layers) - drawn
	if truncated > 0 {
		layers = layers[:drawn]
	}
	var svg bytes.Buffer
	picture := draw.Picture{Title: "Layers of " + info.Name + ", keys to the right, LSNs upward", Layers: layers, Marks: []draw.Mark{{LSN: info.DiskConsistentLSN, Label: "on disk"}}}
	if err := picture.SVG(&svg); err != nil {
		return err
	}
	data := struct {
		Tenant    page.TenantShardID
		Row       timelineRow
		Debt      string
		Truncated int
		Drawing   template.HTML
	}{t.ShardID(), row, compactionDebt(r.Context(), tl), max(truncated, 0), template.HTML(svg.String())} // draw has escaped it
	return render(w, "timeline", data)
}

// compactionDebt says what compaction owes, by a plan of what it would do next.
func compactionDebt(ctx context.Context, tl *strata.Timeline) string {
	plan, err := tl.PlanCompaction(ctx, strata.CompactOptions{DueOnly: true})
	if err != nil {
		return "not known: " + err.Error()
	}
	return fmt.Sprintf("%d jobs are due, which read and write %s; the worst read visits %d deltas", len(plan.Jobs), sizeText(plan.Debt.Bytes), plan.Debt.Height)
}
