package datadir

import (
	"context"

	"github.com/stratapg/strata/page"
)

// Sharded is a Store of one shard of a tenant. Every shard is given the whole WAL; a Modification of it puts the blocks
// that belong to the shard, and what every shard keeps. It follows the sizes of all relations, so that any shard tells
// them right (Neon's know only the highest of their own blocks), and so moves its end with every record, whether anything
// of it was for the shard or not. SLRUs and auxiliary files are shard 0's: another's Modification finds none and puts
// none.
type Sharded interface {
	Store
	// Shard says which it is; zero is all of a tenant.
	Shard() page.ShardIdentity
}

// ShardOf gives the shard that a store is of.
func ShardOf(s Store) page.ShardIdentity {
	if of, ok := s.(Sharded); ok {
		return of.Shard()
	}
	return page.ShardIdentity{}
}

// elsewhere reports whether SLRUs and auxiliary files are another shard's.
func (m *Modification) elsewhere() bool { return !m.shard.Alone() && !m.shard.First() }

// putZero puts a page of zeros before the present record, if it is the shard's, and reports whether it is.
func (m *Modification) putZero(k page.Key) bool {
	if !m.shard.Keeps(k) {
		return false
	}
	m.batch.PutImage(k, m.beforeEnd(), zeroPage[:])
	return true
}

// GrowRelation gives a relation of a shard, whose own blocks have been put, the size that it has with those of the other
// shards. One that is as long stays as it is.
func (m *Modification) GrowRelation(ctx context.Context, rel page.RelTag, n uint32) error {
	old, ok, err := m.RelSize(ctx, rel)
	if err == nil && ok && old < n && !m.shard.Alone() {
		m.setSize(rel, old, n)
	}
	return err
}
