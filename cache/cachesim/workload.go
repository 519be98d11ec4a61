// Package cachesim compares replacement policies: a workload made from the names of real layer files, and
// simulations of policies that are not in the cache (LRU, W-TinyLFU, and the best that is possible), to
// measure by. Nothing that ships imports it.
package cachesim

import (
	"cmp"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/stratapg/strata/cache"
	"github.com/stratapg/strata/cache/trace"
)

// Layer is the rectangle of a layer file, from its name. Keys are hexadecimal, and compare as they are.
type Layer struct {
	Start, End string
	Low, High  uint64 // LSNs; of an image both are its own
	Image      bool
}

// ParseLayer takes a name apart.
func ParseLayer(name string) (Layer, error) {
	keys, lsns, ok1 := strings.Cut(name, "__")
	start, end, ok2 := strings.Cut(keys, "-")
	low, high, delta := strings.Cut(lsns, "-")
	l := Layer{Start: start, End: end, Image: !delta}
	var err1, err2 error
	l.Low, err1 = strconv.ParseUint(low, 16, 64)
	l.High = l.Low
	if delta {
		l.High, err2 = strconv.ParseUint(high, 16, 64)
	}
	if !ok1 || !ok2 || err1 != nil || err2 != nil {
		return Layer{}, fmt.Errorf("%q is no name of a layer", name)
	}
	return l, nil
}

// blocks of a layer's parts. Images hold 16 Ki pages of 8 KiB in 128 MiB, about 800 to a leaf; deltas about 1 Mi
// records of 100 bytes, about 480 to a leaf of 26-byte keys; a checksum block has the sums of 1 MiB.
const (
	imageLeaves, deltaLeaves = 20, 2000
	fanOut                   = 480
	checksumBlocks           = 128
)

func (l *Layer) leaves() int {
	if l.Image {
		return imageLeaves
	}
	return deltaLeaves
}

// Step is an access, and whether a scan made it.
type Step struct {
	trace.Access
	Scan bool
}

// Workload reads single pages, Zipf distributed, while scans (compaction, verification) read whole layers.
type Workload struct {
	Layers []Layer
	Reads  int
	// ScanBlocks are read by scans between two reads of pages; 0 is no scans.
	ScanBlocks int
	Seed       uint64

	rng    *rand.Rand
	bounds []string         // all keys where layers begin or end
	stacks map[int][]uint32 // layers over the place between two bounds, newest first
	images []uint32
}

const (
	pages = 1 << 20 // that may be read
	skew  = 1.1     // of their popularity; 1 is the least that rand.Zipf does
	// old reads in so many are at an LSN of the past, as those of branches are.
	old = 10
	// found in so many deltas over a page has records of it; the others are asked in vain.
	found = 3
)

// Steps gives the accesses.
func (w *Workload) Steps() iter.Seq[Step] {
	w.rng = rand.New(rand.NewPCG(w.Seed, 1))
	w.prepare()
	return func(yield func(Step) bool) {
		zipf := rand.NewZipf(w.rng, skew, 8, pages-1)
		next, stop := iter.Pull(w.scans())
		defer stop()
		for range w.Reads {
			page := zipf.Uint64() * 0x9e3779b97f4a7c15 >> 20 // popular ones lie anywhere
			if !w.read(page, func(a trace.Access) bool { return yield(Step{a, false}) }) {
				return
			}
			for range w.ScanBlocks {
				a, _ := next()
				if !yield(Step{a, true}) {
					return
				}
			}
		}
	}
}

func (w *Workload) prepare() {
	w.stacks, w.images, w.bounds = map[int][]uint32{}, nil, nil
	for i, l := range w.Layers {
		w.bounds = append(w.bounds, l.Start, l.End)
		if l.Image {
			w.images = append(w.images, uint32(i))
		}
	}
	slices.Sort(w.bounds)
	w.bounds = slices.Compact(w.bounds)
}

// stack lists the layers over a place, newest first.
func (w *Workload) stack(at int) []uint32 {
	if s, ok := w.stacks[at]; ok {
		return s
	}
	var s []uint32
	for i := range w.Layers {
		if l := &w.Layers[i]; l.Start <= w.bounds[at] && w.bounds[at] < l.End {
			s = append(s, uint32(i))
		}
	}
	slices.SortFunc(s, func(a, b uint32) int { return cmp.Compare(w.Layers[b].High, w.Layers[a].High) })
	w.stacks[at] = s
	return s
}

// read visits the layers over a page from the newest to the first image.
func (w *Workload) read(page uint64, yield func(trace.Access) bool) bool {
	place := w.Layers[w.images[page%uint64(len(w.images))]]
	at, _ := slices.BinarySearch(w.bounds, place.Start)
	part := float64(page/uint64(len(w.images))%(1<<16)) / (1 << 16) // where in the image the page lies
	top := ^uint64(0)
	if w.rng.IntN(old) == 0 {
		top = place.High
	}
	for _, i := range w.stack(at) {
		l := &w.Layers[i]
		if l.Low > top {
			continue
		}
		if !w.search(i, part, yield) {
			return false
		}
		if l.Image {
			break
		}
	}
	return true
}

// search goes down the index of a layer, and reads the checksums of a value that it finds.
func (w *Workload) search(i uint32, part float64, yield func(trace.Access) bool) bool {
	l := &w.Layers[i]
	if !l.Image { // a delta is wider than the image: its pages are elsewhere in each
		part += float64(i) * 0.6180339887
		part -= float64(int(part))
	}
	for _, b := range path(int(part*float64(l.leaves())), l.leaves()) {
		if !yield(access(i, b, cache.Index)) {
			return false
		}
	}
	if !l.Image && w.rng.IntN(found) > 0 {
		return true
	}
	return yield(access(i, checksumAt+uint32(part*checksumBlocks), cache.Checksums))
}

// checksumAt is the first checksum block; index blocks lie below it.
const checksumAt = 1 << 20

func access(layer, block uint32, kind cache.Kind) trace.Access {
	return trace.Access{Key: cache.Key{File: uint64(layer) + 1, Block: block}, Kind: kind}
}

// path gives the blocks from the root to a leaf. Leaves come first in the file, the root last.
func path(leaf, leaves int) []uint32 {
	first, up := 0, []uint32{uint32(leaf)}
	for n := leaves; n > 1; n = (n + fanOut - 1) / fanOut {
		first += n
		leaf /= fanOut
		up = append(up, uint32(first+leaf))
	}
	slices.Reverse(up)
	return up
}

// scans merges ten layers at a time, in turn a leaf of each, for ever.
func (w *Workload) scans() iter.Seq[trace.Access] {
	const together = 10
	return func(yield func(trace.Access) bool) {
		for {
			first := w.rng.IntN(len(w.Layers))
			for leaf := range deltaLeaves {
				for i := first; i < min(first+together, len(w.Layers)); i++ {
					if leaf < w.Layers[i].leaves() && !w.scanLeaf(uint32(i), leaf, yield) {
						return
					}
				}
			}
		}
	}
}

func (w *Workload) scanLeaf(i uint32, leaf int, yield func(trace.Access) bool) bool {
	n := w.Layers[i].leaves()
	if !yield(access(i, uint32(leaf), cache.Index)) {
		return false
	}
	at := func(leaf int) int { return leaf * checksumBlocks / n }
	for b := at(leaf); b < at(leaf+1); b++ {
		if !yield(access(i, checksumAt+uint32(b), cache.Checksums)) {
			return false
		}
	}
	return true
}
