package tenant

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

const (
	shardFileName = "SHARD"
	shardMagic    = "strata shard"
)

// ShardID names the tenant, or the shard of it.
func (t *Tenant) ShardID() page.TenantShardID {
	return page.TenantShardID{Tenant: t.id, Shard: t.shard.ShardIndex}
}

// Shard says which shard of its tenant it is; it is zero for a tenant that is not sharded.
func (t *Tenant) Shard() page.ShardIdentity { return t.shard }

// Shards lists which shards of a tenant are here, by number; one that is not sharded has the zero index.
func (s *Store) Shards(tenant page.TenantID) []page.TenantShardID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shardsLocked(tenant)
}

func (s *Store) shardsLocked(tenant page.TenantID) (ids []page.TenantShardID) {
	for id := range s.mu.tenants {
		if id.Tenant == tenant {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, page.TenantShardID.Compare)
	return ids
}

// checkShard says why a shard cannot be made here. Shards of one tenant deal out keys alike.
func (s *Store) checkShard(tenant page.TenantID, shard page.ShardIdentity) error {
	if err := shard.Validate(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range s.shardsLocked(tenant) {
		other := s.mu.tenants[id].shard
		if other.Number = shard.Number; other != shard {
			return fmt.Errorf("%w: %s, %s", ErrTenantExists, id, s.mu.tenants[id].shard)
		}
	}
	return nil
}

// makeShardDir makes the folders of a tenant or of a shard, durably. A shard's file is last: a shard's folder without one
// was never finished.
func (s *Store) makeShardDir(tenant page.TenantID, shard page.ShardIdentity) error {
	id := page.TenantShardID{Tenant: tenant, Shard: shard.ShardIndex}
	if shard.Count > 0 {
		if err := s.needShards(); err != nil {
			return err
		}
	}
	if err := s.makeTenantDir(id); err != nil || shard.Count == 0 {
		return err
	}
	return virtualfile.WriteFileAtomic(s.fs, filepath.Join(s.tenantDir(id), shardFileName), encodeShard(shard))
}

// encodeShard gives a shard's file:
//
//	strata shard
//	shard 0104
//	layout 1
//	stripe 2048
//	crc32c 89abcdef
//
// Number and count are also in the folder's name.
func encodeShard(s page.ShardIdentity) []byte {
	return sealText(fmt.Sprintf("%s\nshard %s\nlayout %d\nstripe %d\n", shardMagic, s.ShardIndex, s.Layout, s.StripeSize))
}

func decodeShard(b []byte) (s page.ShardIdentity, err error) {
	lines, err := openText(b, shardMagic, "shard", "layout", "stripe")
	if err != nil {
		return s, err
	}
	x, err := page.ParseShardIndex(lines[0])
	layout, err1 := strconv.ParseUint(lines[1], 10, 8)
	stripe, err2 := strconv.ParseUint(lines[2], 10, 32)
	s = page.ShardIdentity{ShardIndex: x, Layout: uint8(layout), StripeSize: uint32(stripe)}
	if err = errors.Join(err, err1, err2); err == nil {
		err = s.Validate()
	}
	if err != nil {
		return page.ShardIdentity{}, fmt.Errorf("%w: %w", ErrCorruptStoreFile, err)
	}
	return s, nil
}

// readShard reads how a shard's tenant is sharded.
func (s *Store) readShard(id page.TenantShardID) (shard page.ShardIdentity, err error) {
	if id.Shard.Count == 0 {
		return shard, nil
	}
	path := filepath.Join(s.tenantDir(id), shardFileName)
	b, err := virtualfile.ReadFile(s.fs, path, maxStoreFileSize)
	if err != nil {
		return shard, err
	}
	if shard, err = decodeShard(b); err == nil && shard.ShardIndex != id.Shard {
		err = fmt.Errorf("%w: it is that of shard %s", ErrCorruptStoreFile, shard.ShardIndex)
	}
	if err != nil {
		return shard, fmt.Errorf("%s: %w", path, err)
	}
	return shard, nil
}

// unfinished reports whether the folder of a shard was never finished, and removes it then.
func (s *Store) unfinished(id page.TenantShardID) (bool, error) {
	if id.Shard.Count == 0 {
		return false, nil
	}
	_, err := s.fs.Stat(filepath.Join(s.tenantDir(id), shardFileName))
	if !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return true, s.dropUnfinished(s.tenantDir(id))
}
