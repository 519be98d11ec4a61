package timeline

import (
	"sync"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// compactor is what a timeline keeps for compaction and collection beside its layers.
type compactor struct {
	// turn is that of whoever changes layers that are there already: a job of compaction, or collection. It comes
	// before the flusher's turn.
	turn turn
	// moved are the keys of layers that other layers hold too, as the manifest has them. It is replaced, never changed, under both
	// turns, and read under either; reads have that of their view.
	moved map[compaction.ID]page.Set
	// suspects are files that an edit named which failed, and may be found after a crash. They stay until the
	// next edit has replaced it. The flusher's turn guards them.
	suspects []layer.Desc
	live     liveKeys // guarded by turn
	newest   newestLive
	contents contents
	chains   chainsKnown

	mu struct {
		sync.Mutex
		// doomed are files that are in no manifest and still there: no new one may have such a name.
		doomed map[compaction.ID]layer.Desc
		// dead are those of them that nobody reads any more.
		dead []layer.Desc
	}
	// removing is held while files are deleted, which ends with the timeline. It comes before mu.
	removing struct {
		sync.Mutex
		ended bool
	}
}

func newCompactor(s *manifest.State) *compactor {
	c := &compactor{turn: newTurn(), contents: contents{turn: newTurn()}, moved: map[compaction.ID]page.Set{}}
	c.mu.doomed = map[compaction.ID]layer.Desc{}
	c.chains.note(&manifest.Edit{Chains: s.Chains})
	for _, m := range s.Moved {
		c.moved[idOf(&m.Layer)] = page.NewSet(m.Keys...)
	}
	return c
}

// idOf gives what makes a layer the same file.
func idOf(d *layer.Desc) compaction.ID {
	return compaction.ID{Keys: d.Keys, LSNs: d.LSNs, Image: d.Image, Generation: d.Generation}
}
