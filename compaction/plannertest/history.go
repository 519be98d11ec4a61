package plannertest

import (
	"slices"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/page"
	"pgregory.net/rapid"
)

// Ingest writes n records at random: of few keys or many, with now and then an image, a new or dropped relation, metadata
// and its removal.
func (w *World) Ingest(t *rapid.T, n int) {
	hot := rapid.Bool().Draw(t, "hot")
	for range n {
		w.nextRecord++
		lsn := w.last + 8*page.LSN(rapid.IntRange(1, 20).Draw(t, "step"))
		size := int64(rapid.SampledFrom([]int{40, 40, 100, 400, 2000}).Draw(t, "size"))
		f := fact{lsn: lsn, size: size, record: w.nextRecord}
		live := w.liveAt(lsn).Ranges()
		switch what := rapid.IntRange(0, 19).Draw(t, "what"); {
		case what == 0 || len(live) == 0:
			w.extend(t, f)
			continue
		case what == 1:
			w.drop(t, lsn)
			continue
		case what <= 4:
			w.metadata(t, f)
			continue
		case what == 5:
			f.image, f.state, f.size = true, State(w.nextRecord<<20|1), imageSize
		case what == 6:
			f.willInit = true
		}
		r := live[0]
		if !hot {
			r = rapid.SampledFrom(live).Draw(t, "relation")
		}
		limit := int(compaction.Pages(r)) - 1
		if hot {
			limit = min(limit, 1)
		}
		f.key = r.Start.Add(uint32(rapid.IntRange(0, limit).Draw(t, "block")))
		w.put(f)
	}
}

// extend adds some blocks to a relation.
func (w *World) extend(t *rapid.T, f fact) {
	rel := uint32(rapid.IntRange(0, 5).Draw(t, "relation"))
	from := uint32(0)
	for w.truths[dense(rel, from)] != nil {
		from++
	}
	if from > 0 && !w.live[dense(rel, from-1)] || from >= 40 {
		w.last = f.lsn
		return
	}
	f.willInit = true
	for n := range uint32(rapid.IntRange(1, 12).Draw(t, "blocks")) {
		f.key = dense(rel, from+n)
		w.put(f)
	}
}

// drop drops a relation.
func (w *World) drop(t *rapid.T, lsn page.LSN) {
	rel := uint32(rapid.IntRange(0, 5).Draw(t, "relation"))
	for n := uint32(0); w.live[dense(rel, n)]; n++ {
		w.live[dense(rel, n)] = false
		w.truths[dense(rel, n)].gone = lsn
	}
	w.last = lsn
}

// metadata writes or removes a sparse key.
func (w *World) metadata(t *rapid.T, f fact) {
	f.key = sparse(uint32(rapid.IntRange(0, 9).Draw(t, "metadata")))
	tr := w.truths[f.key]
	exists := tr != nil && tr.at(w.last) != 0
	switch {
	case exists && rapid.Bool().Draw(t, "remove"):
		f.image, f.state = true, 0
	case !exists || rapid.Bool().Draw(t, "anew"):
		f.image, f.state = true, State(w.nextRecord<<20|1)
	}
	w.put(f)
}

// MoveCutoff raises the cutoff to a random LSN.
func (w *World) MoveCutoff(t *rapid.T) {
	if w.durable > w.cutoff {
		w.cutoff += page.LSN(rapid.Uint64Range(0, uint64(w.durable-w.cutoff)).Draw(t, "cutoff"))
		if rapid.Bool().Draw(t, "all") {
			w.cutoff = w.durable
		}
	}
}

// Branch retains a random LSN at or above the cutoff, or lets one go, or releases keys of one.
func (w *World) Branch(t *rapid.T) {
	at := slices.Collect(func(yield func(page.LSN) bool) {
		for _, p := range w.Snapshot(nil).Retain {
			if !yield(p.LSN) {
				return
			}
		}
	})
	switch rapid.IntRange(0, 3).Draw(t, "branch") {
	case 0:
		if len(at) > 0 {
			delete(w.retain, rapid.SampledFrom(at).Draw(t, "end"))
		}
	case 1:
		if len(at) > 0 {
			lsn := rapid.SampledFrom(at).Draw(t, "covered")
			rel := uint32(rapid.IntRange(0, 5).Draw(t, "relation"))
			r := page.Range{Start: dense(rel, 0), End: dense(rel, uint32(rapid.IntRange(1, 40).Draw(t, "blocks")))}
			w.retain[lsn] = w.retain[lsn].Union(page.NewSet(r))
		}
	default:
		if len(at) < 4 {
			lsn := w.cutoff + page.LSN(rapid.Uint64Range(0, uint64(w.last-w.cutoff)).Draw(t, "lsn"))
			if _, ok := w.retain[lsn]; !ok {
				w.retain[lsn] = page.Set{}
			}
		}
	}
}

// Delete deletes the files of layers that were removed, so that their names are free.
func (w *World) Delete() { clear(w.doomed) }

// Attach makes another owner of the timeline: new layers get another generation. Memory is lost.
func (w *World) Attach() {
	w.generation++
}
