package pagebench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"sort"

	"github.com/stratapg/strata/page"
)

// Blocks are consecutive blocks of a relation.
type Blocks struct {
	Rel   page.RelTag `json:"rel"`
	First uint32      `json:"first"`
	N     uint32      `json:"n"`
}

// Keyspace is what a target can be asked for.
type Keyspace struct {
	Target Target   `json:"target"`
	At     page.LSN `json:"at"`
	Blocks []Blocks `json:"blocks"`

	ends []uint64 // of each of Blocks among all of them
}

// Total is the number of blocks.
func (k *Keyspace) Total() uint64 {
	if len(k.ends) == 0 {
		return 0
	}
	return k.ends[len(k.ends)-1]
}

// index reckons where Blocks lie among all.
func (k *Keyspace) index() error {
	k.ends = make([]uint64, len(k.Blocks))
	sum := uint64(0)
	for i, b := range k.Blocks {
		sum += uint64(b.N)
		k.ends[i] = sum
	}
	if sum == 0 {
		return fmt.Errorf("timeline %s has no blocks of relations at %s", k.Target, k.At)
	}
	return nil
}

// Draw gives n consecutive blocks of one relation, fewer if it has not so many, each block equally likely to be the first.
func (k *Keyspace) Draw(r *rand.Rand, n uint32) Blocks {
	at := r.Uint64N(k.Total())
	i := sort.Search(len(k.ends), func(i int) bool { return k.ends[i] > at })
	b := k.Blocks[i]
	first := b.First + uint32(at-(k.ends[i]-uint64(b.N)))
	if n > b.N {
		n = b.N
	}
	first = min(first, b.First+b.N-n)
	return Blocks{b.Rel, first, n}
}

// Keyspaces asks for the key spaces of all targets, only of one relation number if that is not 0. cache, if not empty, names a
// file that keeps them for the next run with the same targets.
func (a *API) Keyspaces(ctx context.Context, targets []Target, relnode uint32, cache string) ([]Keyspace, error) {
	all, err := readCache(cache, targets)
	if err != nil {
		return nil, err
	}
	if all == nil {
		for _, t := range targets {
			k, err := a.keyspace(ctx, t)
			if err != nil {
				return nil, err
			}
			all = append(all, k)
		}
		if err := writeCache(cache, all); err != nil {
			return nil, err
		}
	}
	return all, only(all, relnode)
}

// only leaves the blocks of one relation number, if that is not 0, and makes key spaces ready to draw from.
func only(all []Keyspace, relnode uint32) error {
	for i := range all {
		if relnode != 0 {
			all[i].Blocks = slices.DeleteFunc(all[i].Blocks, func(b Blocks) bool { return b.Rel.Rel != relnode })
		}
		if err := all[i].index(); err != nil {
			return err
		}
	}
	return nil
}

// keyspace asks for one, and keeps the blocks of relations.
func (a *API) keyspace(ctx context.Context, t Target) (Keyspace, error) {
	var answer struct {
		Keys [][2]string `json:"keys"`
		At   page.LSN    `json:"at_lsn"`
	}
	path := fmt.Sprintf("/v1/tenant/%s/timeline/%s/keyspace", t.Tenant, t.Timeline)
	if err := a.call(ctx, http.MethodGet, path, "", &answer); err != nil {
		return Keyspace{}, err
	}
	k := Keyspace{Target: t, At: answer.At}
	for _, r := range answer.Keys {
		start, err := page.ParseKey(r[0])
		if err != nil {
			return k, err
		}
		end, err := page.ParseKey(r[1])
		if err != nil {
			return k, err
		}
		k.Blocks = appendBlocks(k.Blocks, start, end)
	}
	return k, nil
}

// appendBlocks adds the blocks of relations in a range of keys. A range may begin with the size of a relation's fork and go on
// with the blocks of its next one, as those keys follow each other.
func appendBlocks(out []Blocks, start, end page.Key) []Blocks {
	for start.Compare(end) < 0 {
		rel, first, ok := start.RelBlock()
		if !ok {
			if _, size := start.RelSize(); !size {
				return out // metadata, which no block follows
			}
			start = start.Next()
			continue
		}
		stop := rel.SizeKey()
		if end.Compare(stop) < 0 {
			stop = end
		}
		out = append(out, Blocks{rel, first, stop.F6 - first})
		start = stop
	}
	return out
}

func readCache(name string, targets []Target) ([]Keyspace, error) {
	if name == "" {
		return nil, nil
	}
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []Keyspace
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("key space cache %s: %w; remove it", name, err)
	}
	if len(all) != len(targets) {
		return nil, nil
	}
	for i := range all {
		if !slices.Contains(targets, all[i].Target) {
			return nil, nil
		}
	}
	return all, nil
}

func writeCache(name string, all []Keyspace) error {
	if name == "" {
		return nil
	}
	text, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return os.WriteFile(name, text, 0o600)
}
