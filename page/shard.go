package page

import "fmt"

// Layouts of shards: how keys are dealt out.
const (
	// ShardLayoutV1 is the only layout there is.
	ShardLayoutV1 = 1
	// ShardLayoutBroken marks a tenant whose shards are not to be used.
	ShardLayoutBroken = 255
)

// Stripe sizes, in pages.
const (
	// DefaultStripeSize is that of new tenants: 16 MiB.
	DefaultStripeSize = 2048
	// LegacyStripeSize is meant where a tenant's shards say nothing of it: 256 MiB.
	LegacyStripeSize = 32768
)

// MaxShards bounds the shards of a tenant: the largest power of two that a count has room for, so that every tenant may be
// split up to it.
const MaxShards = 128

// ShardIndex says which shard of how many. Count 0 is a tenant that was never sharded, Count 1 one shard that has
// everything; they differ in their paths alone.
type ShardIndex struct{ Number, Count uint8 }

// ShardIdentity is a shard and how the keys are dealt out among the shards of its tenant. The zero value is a tenant that
// was never sharded. It is a value of its own and may be compared.
//
// The blocks of relations are dealt out in stripes of consecutive blocks, by a hash of the relation's number and the
// stripe's; tablespace, database and fork do not count, so that a database that is copied stays where it is. All that is
// no block, and init forks, is shard 0's. What a reader of any shard needs (sizes and directories of relations, the
// checkpoint and so on) is kept by every shard all the same.
//
// Source: Neon, libs/pageserver_api/src/shard.rs.
type ShardIdentity struct {
	ShardIndex
	// Layout says how keys are dealt out; 0 if Count is.
	Layout uint8
	// StripeSize is how many consecutive blocks of a relation stay together; 0 if Count is.
	StripeSize uint32
}

// NewShardIdentity gives shard number of count with stripes of so many pages; 0 is DefaultStripeSize.
func NewShardIdentity(number, count uint8, stripe uint32) ShardIdentity {
	if stripe == 0 {
		stripe = DefaultStripeSize
	}
	return ShardIdentity{ShardIndex{number, count}, ShardLayoutV1, stripe}
}

// Validate says what is wrong with s.
func (s ShardIdentity) Validate() error {
	switch {
	case s == ShardIdentity{}:
		return nil
	case s.Count == 0:
		return fmt.Errorf("shard %d of 0, layout %d, stripes of %d pages: a tenant without shards has none of these", s.Number, s.Layout, s.StripeSize)
	case s.Count > MaxShards:
		return fmt.Errorf("%d shards: at most %d", s.Count, MaxShards)
	case s.Number >= s.Count:
		return fmt.Errorf("shard %d of %d: shards are numbered from 0", s.Number, s.Count)
	case s.Layout != ShardLayoutV1:
		return fmt.Errorf("shard layout %d: only %d is known", s.Layout, ShardLayoutV1)
	case s.StripeSize == 0:
		return fmt.Errorf("shard %d of %d has stripes of 0 pages", s.Number, s.Count)
	}
	return nil
}

// String says it in words.
func (s ShardIdentity) String() string {
	if s.Count == 0 {
		return "not sharded"
	}
	return fmt.Sprintf("shard %d of %d, stripes of %d pages", s.Number, s.Count, s.StripeSize)
}

// Alone reports whether s has every key of its tenant.
func (s ShardIdentity) Alone() bool { return s.Count < 2 }

// First reports whether s is the shard that has what is not dealt out.
func (s ShardIdentity) First() bool { return s.Number == 0 }

// Owner is the number of the shard that k belongs to.
func (s ShardIdentity) Owner(k Key) uint8 {
	if s.Count < 2 || k.F1 != prefixRel || k.F4 == 0 || k.F6 == sizeBlock || k.F5 == uint8(ForkInit) {
		return 0
	}
	return s.ownerOf(k.F4, k.F6/s.StripeSize)
}

// ownerOf deals out a stripe of a relation.
func (s ShardIdentity) ownerOf(rel, stripe uint32) uint8 {
	return uint8(combineHashes(murmur32(rel), murmur32(stripe)) % uint32(s.Count))
}

// Owns reports whether k belongs to s.
func (s ShardIdentity) Owns(k Key) bool { return s.Count < 2 || s.Owner(k) == s.Number }

// Keeps reports whether s is to store k: it belongs to s, or every shard has it.
func (s ShardIdentity) Keeps(k Key) bool {
	return s.Count < 2 || k.onEveryShard() || s.Owner(k) == s.Number
}

// onEveryShard reports whether each shard keeps its own copy of k. It is Neon's is_key_global, but that all of an SLRU is
// shard 0's, the kind that Neon has not included.
func (k Key) onEveryShard() bool {
	switch k.F1 {
	case prefixRel:
		return k.F4 == 0 || k.F6 == sizeBlock
	case prefixSLRU, prefixAux:
		return false
	}
	return true
}

// murmur32 is the finalizer of MurmurHash3.
func murmur32(h uint32) uint32 {
	h ^= h >> 16
	h *= 0x85ebca6b
	h ^= h >> 13
	h *= 0xc2b2ae35
	return h ^ h>>16
}

// combineHashes makes one hash of two.
func combineHashes(a, b uint32) uint32 {
	return a ^ (b + 0x9e3779b9 + a<<6 + a>>2)
}

// Children gives the shards that s becomes when its tenant is split into count shards: those whose number leaves s's when
// divided by the present count. stripe is that of the children; 0 leaves it as it is.
func (s ShardIdentity) Children(count uint8, stripe uint32) ([]ShardIdentity, error) {
	old := max(s.Count, 1)
	if count > MaxShards || count < old || count%old != 0 || count/old&(count/old-1) != 0 || count == s.Count {
		return nil, fmt.Errorf("%s cannot be split into %d shards: their number has to be multiplied by a power of two, up to %d", s, count, MaxShards)
	}
	if stripe == 0 {
		stripe = s.StripeSize
	}
	if !s.Alone() && stripe != s.StripeSize {
		return nil, fmt.Errorf("%s cannot get stripes of %d pages: only a tenant of one shard can", s, stripe)
	}
	var out []ShardIdentity
	for n := int(s.Number); n < int(count); n += int(old) {
		out = append(out, NewShardIdentity(uint8(n), count, stripe))
	}
	return out, nil
}
