package page

import (
	"iter"
	"math"
)

// maxStripes bounds the stripes of one range that are looked at one by one: of a longer range, the keys are taken to be
// dealt out evenly.
const maxStripes = 1 << 20

// blockRun is a run of keys that differ in the last field only.
type blockRun struct {
	first Key
	n     uint64
}

// run gives r as a run, if it is one: its ends are equal but for the last field, or the end is that of the fork.
func (r Range) run() (blockRun, bool) {
	a, b := r.Start, r.End
	if a.hi() != b.hi() || a.mid() != b.mid() {
		return blockRun{}, false
	}
	switch {
	case a.F5 == b.F5:
		return blockRun{a, uint64(b.F6) - uint64(a.F6)}, true
	case b.F5 == a.F5+1 && b.F6 == 0:
		return blockRun{a, math.MaxUint32 - uint64(a.F6) + 1}, true
	}
	return blockRun{}, false
}

// dealt reports whether the keys of a run belong to shards by their stripes.
func (k Key) dealt() bool { return k.F1 == prefixRel && k.F4 != 0 && k.F5 != uint8(ForkInit) }

// Pages is how many keys of r the shard keeps, as Neon weighs it: at most math.MaxUint32, and that for a range of which it
// cannot be told, because its ends differ in more than their last field.
func (s ShardIdentity) Pages(r Range) int64 {
	if r.Empty() {
		return 0
	}
	run, ok := r.run()
	if !ok {
		a, b := r.Start, r.End
		if a.hi() != b.hi() || a.mid() != b.mid() || a.F6 != sizeBlock || b.F5 != a.F5+1 {
			return math.MaxUint32
		}
		n := s.Pages(Range{Key{F1: b.F1, F5: b.F5, F2: b.F2, F3: b.F3, F4: b.F4}, b})
		if s.Keeps(a) {
			n++
		}
		return min(n, math.MaxUint32)
	}
	if s.Alone() {
		return int64(min(run.n, math.MaxUint32))
	}
	if !run.first.dealt() {
		n := run.n
		if run.n == 1 || run.first.F1 != prefixRel || run.first.F4 == 0 {
			if !s.Keeps(run.first) {
				n = 0
			}
			return int64(min(n, math.MaxUint32))
		}
	}
	if run.first.dealt() && run.n/uint64(s.StripeSize) > maxStripes {
		return int64(min(run.n/uint64(s.Count), math.MaxUint32))
	}
	var n uint64
	for part := range s.parts(run, s.Keeps) {
		n += part.n
	}
	return int64(min(n, math.MaxUint32))
}

// parts gives what the shard has of a run of a relation's keys, in order; neighbours are in one piece.
func (s ShardIdentity) parts(run blockRun, has func(Key) bool) iter.Seq[blockRun] {
	return func(yield func(blockRun) bool) {
		var have blockRun
		from, end := uint64(run.first.F6), uint64(run.first.F6)+run.n
		for from < end {
			to := end
			k := run.first
			k.F6 = uint32(from)
			switch {
			case from == sizeBlock:
			case k.dealt():
				to = min(end, sizeBlock, (from/uint64(s.StripeSize)+1)*uint64(s.StripeSize))
			default:
				to = min(end, sizeBlock)
			}
			switch {
			case !has(k):
			case have.n > 0 && uint64(have.first.F6)+have.n == from:
				have.n += to - from
			default:
				if have.n > 0 && !yield(have) {
					return
				}
				have = blockRun{k, to - from}
			}
			from = to
		}
		if have.n > 0 {
			yield(have)
		}
	}
}

// Restrict takes out of keys what the shard does not keep. Where that cannot be told of a range without looking at each
// of its keys, because its ends differ in more than their last field or it is very long, all of it stays: Keeps tells.
func (s ShardIdentity) Restrict(keys Set) Set { return s.restrict(keys, s.Keeps) }

// Share takes out of keys what does not belong to the shard, so that the shares of all shards have each key once. What
// cannot be told stays, as with Restrict: Owns tells.
func (s ShardIdentity) Share(keys Set) Set { return s.restrict(keys, s.Owns) }

func (s ShardIdentity) restrict(keys Set, has func(Key) bool) Set {
	if s.Alone() {
		return keys
	}
	var out []Range
	for _, r := range keys.Ranges() {
		run, ok := r.run()
		switch {
		case !ok || run.first.dealt() && run.n/uint64(s.StripeSize) > maxStripes:
			out = append(out, r)
		case run.n == 1 || run.first.F1 != prefixRel || run.first.F4 == 0:
			if has(run.first) {
				out = append(out, r)
			}
		default:
			for p := range s.parts(run, has) {
				end := p.first
				if last := uint64(p.first.F6) + p.n; last > math.MaxUint32 {
					end.F5, end.F6 = end.F5+1, 0
				} else {
					end.F6 = uint32(last)
				}
				out = append(out, Range{p.first, end})
			}
		}
	}
	return NewSet(out...)
}
