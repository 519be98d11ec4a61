package tenant

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/stratapg/strata/internal/timeline"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

const (
	splitFileName = "SPLIT"
	splitMagic    = "strata split"
	splitBegun    = "begun"
	splitDone     = "done"
)

// splitFile says that a tenant is being split, or was:
//
//	strata split
//	shards 4
//	stripe 2048
//	state begun
//	crc32c 89abcdef
//
// While it is begun the tenant is what there is, and the folders of its shards are rubbish; once it is done they are what
// there is, and the tenant's folder is rubbish.
type splitFile struct {
	state    string
	children []page.ShardIdentity
}

func (f *splitFile) encode() []byte {
	c := f.children[0]
	return sealText(fmt.Sprintf("%s\nshards %d\nstripe %d\nstate %s\n", splitMagic, c.Count, c.StripeSize, f.state))
}

func decodeSplit(b []byte, of page.ShardIdentity) (f splitFile, err error) {
	lines, err := openText(b, splitMagic, "shards", "stripe", "state")
	if err != nil {
		return f, err
	}
	count, err1 := strconv.ParseUint(lines[0], 10, 8)
	stripe, err2 := strconv.ParseUint(lines[1], 10, 32)
	if err = errors.Join(err1, err2); err == nil {
		f.children, err = of.Children(uint8(count), uint32(stripe))
	}
	if f.state = lines[2]; err == nil && f.state != splitBegun && f.state != splitDone {
		err = fmt.Errorf("state %.20q", f.state)
	}
	if err != nil {
		return splitFile{}, fmt.Errorf("%w: %w", ErrCorruptStoreFile, err)
	}
	return f, nil
}

func (s *Store) splitPath(id page.TenantShardID) string {
	return filepath.Join(s.tenantDir(id), splitFileName)
}

func (s *Store) writeSplit(id page.TenantShardID, f splitFile) error {
	return virtualfile.WriteFileAtomic(s.fs, s.splitPath(id), f.encode())
}

// readSplit gives what a tenant's folder says; ok is false if there is no split.
func (s *Store) readSplit(id page.TenantShardID) (f splitFile, ok bool, err error) {
	b, err := virtualfile.ReadFile(s.fs, s.splitPath(id), maxStoreFileSize)
	if errors.Is(err, fs.ErrNotExist) {
		return f, false, nil
	}
	if err != nil {
		return f, false, err
	}
	shard, err := s.readShard(id)
	if err == nil {
		f, err = decodeSplit(b, shard)
	}
	if err != nil {
		return f, false, fmt.Errorf("%s: %w", s.splitPath(id), err)
	}
	return f, true, nil
}

// settleSplits finishes, or takes back, the splits that a process has left, before anything is opened. It gives the names
// of the folders that are to be opened; where the store is only read the others stay.
func (s *Store) settleSplits(names []string) ([]string, error) {
	var rubbish []string
	for _, n := range names {
		id, err := page.ParseTenantShardID(n)
		if err != nil || id.String() != n {
			continue
		}
		f, ok, err := s.readSplit(id)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		if f.state == splitDone {
			err = s.settleDone(id, f.children)
			rubbish = append(rubbish, n)
		} else {
			if !s.env.ReadOnly {
				err = s.dropSplit(id, f.children)
			}
			for _, c := range f.children {
				rubbish = append(rubbish, page.TenantShardID{Tenant: id.Tenant, Shard: c.ShardIndex}.String())
			}
		}
		if err != nil {
			return nil, fmt.Errorf("split of tenant %s that was not finished: %w", id, err)
		}
	}
	return slices.DeleteFunc(names, func(n string) bool {
		return slices.Contains(rubbish, strings.TrimSuffix(n, virtualfile.TempSuffix))
	}), nil
}

// settleDone retires a tenant that was split, once it is sure that its shards are there.
func (s *Store) settleDone(id page.TenantShardID, children []page.ShardIdentity) error {
	for _, c := range children {
		child := page.TenantShardID{Tenant: id.Tenant, Shard: c.ShardIndex}
		if got, err := s.readShard(child); err != nil || got != c {
			return fmt.Errorf("%w: %s says that the tenant was split, and shard %s is not there: %v", timeline.ErrCorrupt, s.splitPath(id), child, err)
		}
	}
	if s.env.ReadOnly {
		return nil
	}
	return s.retire(id)
}

// retireSplit removes the folders of a tenant's former shards whose removal has failed before: the shards that they were split
// into are about to be split themselves, and would be missed by the next start.
func (s *Store) retireSplit(tenant page.TenantID) error {
	names, err := s.fs.List(filepath.Join(s.dir, tenantsName))
	if err != nil {
		return err
	}
	for _, n := range names {
		id, err := page.ParseTenantShardID(n)
		if err != nil || id.Tenant != tenant {
			continue
		}
		f, ok, err := s.readSplit(id)
		if ok && f.state == splitDone {
			err = s.retire(id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// removeChildren removes what there is of shards.
func (s *Store) removeChildren(tenant page.TenantID, children []page.ShardIdentity) error {
	for _, c := range children {
		dir := s.tenantDir(page.TenantShardID{Tenant: tenant, Shard: c.ShardIndex})
		if err := s.fs.RemoveAll(dir); err != nil {
			return err
		}
	}
	return s.fs.SyncDir(filepath.Join(s.dir, tenantsName))
}

// dropSplit removes what an unfinished split has made, and then the note of it, durably.
func (s *Store) dropSplit(id page.TenantShardID, children []page.ShardIdentity) error {
	if err := s.removeChildren(id.Tenant, children); err != nil {
		return err
	}
	if err := s.fs.Remove(s.splitPath(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.fs.SyncDir(s.tenantDir(id))
}

// retire removes the folder of a tenant that was split. It loses its name first, durably: what a crash leaves then is no
// tenant.
func (s *Store) retire(id page.TenantShardID) error {
	path := s.tenantDir(id)
	temp := path + virtualfile.TempSuffix
	if err := s.fs.RemoveAll(temp); err != nil {
		return err
	}
	if err := s.fs.Rename(path, temp); err != nil {
		return err
	}
	if err := s.fs.SyncDir(filepath.Dir(path)); err != nil {
		return err
	}
	return s.fs.RemoveAll(temp)
}
