package timeline

import (
	"errors"
	"fmt"

	"github.com/stratapg/strata/internal/timeline/manifest"
	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/internal/upload/index"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// A timeline of a shard differs from others in these points. It is given, stores and gives what its shard keeps alone.
// Layers that it has from the shard which it was split from may hold more: reads leave that out, and whatever
// compaction writes is without it. And in remote storage such layers stay the other shard's objects.

// ErrWrongShard says that a key belongs to another shard of the tenant.
var ErrWrongShard = errors.New("the key belongs to another shard")

// Shard says which shard of its tenant the timeline is of; it is zero if the tenant is not sharded.
func (t *Timeline) Shard() page.ShardIdentity { return t.meta.Shard }

// checkShard says why a key cannot be asked for here.
func (t *Timeline) checkShard(k page.Key) error {
	if t.meta.Shard.Keeps(k) {
		return nil
	}
	return t.wrongShard(k)
}

func (t *Timeline) wrongShard(k page.Key) error {
	s := t.meta.Shard
	right := page.ShardIndex{Number: s.Owner(k), Count: s.Count}
	return fmt.Errorf("timeline %s of %s: %w: %s (key %s) is that of shard %d of %d; ask tenant %s",
		t.meta.Name, t.meta.Owner(), ErrWrongShard, k.Describe(), k, right.Number, right.Count, page.TenantShardID{Tenant: t.meta.Tenant, Shard: right})
}

// checkShardOf says why a batch cannot be put here.
func (t *Timeline) checkShardOf(b *page.Batch) error {
	s := t.meta.Shard
	if s.Alone() {
		return nil
	}
	for i := range b.Entries() {
		if k := b.Entries()[i].Key; !s.Keeps(k) {
			return t.wrongShard(k)
		}
	}
	return nil
}

// ofShard gives what of keys is to be read, and fn for those of them that the shard keeps. A single key that it does not
// keep is an error; of a range that is simply no part.
func (t *Timeline) ofShard(keys page.Set, fn func(k page.Key, value []byte, err error) error) (page.Set, func(k page.Key, value []byte, err error) error, error) {
	s := t.meta.Shard
	for _, r := range keys.Ranges() {
		if r.Start.Next() != r.End {
			continue
		}
		if err := t.checkShard(r.Start); err != nil {
			return page.Set{}, nil, err
		}
	}
	return s.Restrict(keys), func(k page.Key, value []byte, err error) error {
		if !s.Keeps(k) {
			return nil
		}
		return fn(k, value, err)
	}, nil
}

// placeOf is where a timeline's objects are in remote storage.
func placeOf(m *manifest.Meta) upload.Place {
	return upload.Place{Tenant: m.Tenant, Timeline: m.Timeline, Shard: m.Shard.Suffix()}
}

// shardBits is how a manifest names a shard, shardText how an index does.
func shardBits(s page.ShardIdentity) uint16 { return uint16(s.Number)<<8 | uint16(s.Count) }

func shardText(bits uint16) string {
	if bits == 0 {
		return ""
	}
	return fmt.Sprintf("%04x", bits)
}

// inherits has the next index name a layer that is the object of a shard from which this one was split. It reports
// whether it is one: then there is nothing to be uploaded.
func (u *uploads) inherits(q *upload.Queue, d layer.Desc) bool {
	r, ok := u.t.log.Remote(d)
	if !ok || r.Shard == shardBits(u.t.meta.Shard) {
		return false
	}
	q.Inherit(d, shardText(r.Shard), index.Sum(r.Sum))
	return true
}
