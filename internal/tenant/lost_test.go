package tenant

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/compaction/catalog"
	"github.com/stratapg/strata/internal/testkit"
	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// estate is a whole store, and the LSNs of each timeline at which it is looked at.
type estate struct {
	*script
	lsns map[*history][]page.LSN
}

// newEstate makes a timeline, a branch of its middle, and branches of that, one of them at an LSN of the first; each has layers and leases.
func newEstate(t *testing.T, seed uint64) *estate {
	e := &estate{lsns: map[*history][]page.LSN{}, script: &script{TestingT: t, rnd: rand.New(rand.NewPCG(seed, 1)), options: oldOptions(nil),
		mem: virtualfile.NewMem(), chaos: newChaos(rand.New(rand.NewPCG(1, 2)))}}
	e.begin()
	grow := func(h *history) {
		for range 4 {
			for range 3 {
				e.put(h)
				e.lsns[h] = append(e.lsns[h], h.last)
			}
			e.flush(h)
		}
	}
	branch := func(of *history, at page.LSN) *history {
		h := newHistory(fmt.Sprint("branch", len(e.hs)), at, of)
		tl, err := e.tenant().Branch(context.Background(), e.timeline(of), h.name, page.TimelineID{}, at)
		require.NoError(t, err)
		h.id, h.initial, h.last = tl.ID(), tl.Meta().AncestorLSN, tl.Meta().AncestorLSN
		e.hs, e.lsns[h] = append(e.hs, h), []page.LSN{h.initial}
		return h
	}
	main := e.hs[0]
	grow(main)
	child := branch(main, main.last)
	grow(main)
	grow(child)
	branch(child, e.lsns[main][4])
	grow(branch(child, e.lsns[child][5]))
	for _, h := range []*history{main, child} {
		l, err := e.timeline(h).Lease(context.Background(), e.lsns[h][7], time.Hour)
		require.NoError(t, err)
		h.leases = append(h.leases, l.LSN)
	}
	return e
}

// digest gives what is read of every timeline at each of its LSNs from the cutoff on, and at those that are held below it.
func (e *estate) digest(from map[*history]page.LSN) map[string]string {
	all := map[string]string{}
	for _, h := range e.hs {
		for _, lsn := range e.lsns[h] {
			if lsn < from[h] && !slices.Contains(h.leases, lsn) {
				continue
			}
			sum := sha256.New()
			err := e.timeline(h).GetVectored(context.Background(), page.NewSet(page.FullRange), lsn, func(k page.Key, v []byte, err error) error {
				fmt.Fprintf(sum, "%s %d %s %v", k, len(v), v, err != nil)
				return nil
			})
			require.NoError(e, err, "%s at %s", h.name, lsn)
			all[fmt.Sprint(h.name, " at ", lsn)] = fmt.Sprintf("%x", sum.Sum(nil))
		}
	}
	return all
}

// references counts, for each record that was ever put to a timeline, the layers that have it.
func (e *estate) references(h *history) map[string]int {
	refs := map[string]int{}
	for _, d := range e.timeline(h).Layers() {
		_, err := e.timeline(h).VerifyLayer(context.Background(), d, func(k page.Key, lsn page.LSN, _ bool, _ layer.Stored) error {
			refs[fmt.Sprint(k, lsn)]++
			return nil
		})
		require.NoError(e, err)
	}
	return refs
}

// requireReferences demands that each record above an LSN is in some layer.
func (e *estate) requireReferences(above map[*history]page.LSN) {
	for _, h := range e.hs {
		refs := e.references(h)
		for k, es := range h.values {
			for _, x := range es {
				if x.lsn > above[h] {
					require.Positive(e, refs[fmt.Sprint(k, x.lsn)], "%s at %s of %s is lost", k.Describe(), x.lsn, h.name)
				}
			}
		}
	}
}

// TestNothingIsLost: under each strategy, no step of compaction leaves a record without a layer that has it; and what is read of the whole
// store, at every LSN that stays readable, is the same before and after compaction, collection and folding.
func TestNothingIsLost(t *testing.T) {
	noLeaks(t)
	seed := testkit.Rand(t, 4).Uint64()
	ctx := context.Background()
	for _, name := range catalog.Names() {
		t.Run(name, func(t *testing.T) {
			e := newEstate(t, seed)
			strategy, nothing := strategyNamed(t, name), map[*history]page.LSN{}
			before := e.digest(nothing)
			e.requireReferences(nothing)
			var mu sync.Mutex // jobs run beside each other
			steps := 0
			for _, h := range e.hs {
				_, err := e.timeline(h).Compact(ctx, timeline.CompactRequest{Strategy: strategy, Thorough: true, Progress: func(timeline.CompactionInfo) {
					mu.Lock()
					defer mu.Unlock()
					if steps++; steps%testkit.Size(7, 1, 1) == 0 {
						e.requireReferences(nothing)
					}
				}})
				require.NoError(t, err)
			}
			require.Positive(t, steps)
			e.requireReferences(nothing)
			require.Equal(t, before, e.digest(nothing))

			cutoffs, removed, folds := map[*history]page.LSN{}, 0, 0
			same := func() {
				t.Helper()
				after := e.digest(cutoffs)
				require.NotEmpty(t, after)
				for at, sum := range after {
					require.Equal(t, before[at], sum, "%s", at)
				}
				e.requireReferences(cutoffs)
			}
			for round := range 2 {
				for _, h := range e.hs {
					r, err := e.timeline(h).GC(ctx, timeline.GCRequest{Horizon: int64(h.last-h.initial) / 3 * int64(1-round)})
					require.NoError(t, err)
					removed += r.Removed
					cutoffs[h] = r.Cutoff
				}
				same()
				for _, h := range e.hs {
					r, err := e.timeline(h).Compact(ctx, timeline.CompactRequest{Strategy: strategy, Thorough: true})
					require.NoError(t, err)
					folds += r.Jobs
					if r, err = e.timeline(h).Compact(ctx, timeline.CompactRequest{Strategy: foldAll{l0s: 0, keys: 3}}); err == nil {
						folds += r.Jobs
					} else {
						require.ErrorContains(t, err, "another layer has the name")
					}
				}
				same()
			}
			require.Positive(t, removed)
			require.Positive(t, folds)
			require.NoError(t, e.close())
		})
	}
}
