package upload

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/stratapg/strata/remote"
)

// Validator says whether a generation is the last that was given out for a tenant, or for the tenant's shard; the timeline of a place
// does not count.
type Validator interface {
	Validate(ctx context.Context, p Place, generation uint32) (valid bool, err error)
}

// Always is the Validator of those who know that nobody else writes.
type Always struct{}

// Validate says yes.
func (Always) Validate(context.Context, Place, uint32) (bool, error) { return true, nil }

// leaseName is what the names of the objects begin with by which writers without a controller agree on generations.
const leaseName = "strata-generation"

// Leases gives out generations, and validates them, by objects in the remote itself: tenants/<tenant>/strata-generation-<8 hex digits>.
// Whoever takes a generation puts its object where there was none; the highest one is the last. So writers that know nothing of each
// other are safe without a controller, as long as the store can put an object only where there is none.
type Leases struct{ Remote remote.Storage }

var _ Validator = Leases{}

func leaseKey(p Place, generation uint32) string {
	return p.TenantPrefix() + leaseName + suffix(generation)
}

// IsLease says whether an object of a tenant, by its name below the tenant's prefix, says which generations were given out.
func IsLease(name string) bool { return strings.HasPrefix(name, leaseName) }

// last gives the last generation that was given out, 0 if none was.
func (l Leases) last(ctx context.Context, p Place) (last uint32, keys []string, err error) {
	prefix := p.TenantPrefix() + leaseName
	for e, err := range l.Remote.List(ctx, prefix, remote.ListOptions{}) {
		if err != nil {
			return 0, nil, err
		}
		if g, ok := parseSuffix(strings.TrimPrefix(e.Key, prefix)); ok {
			last, keys = max(last, g), append(keys, e.Key)
		}
	}
	return last, keys, nil
}

// leaseAttempts bounds how often Acquire meets another writer that is faster.
const leaseAttempts = 100

// Acquire takes the next generation above all that were given out, and above floor. Those who have lower ones are stale from
// then on. floor is the highest generation that is known from elsewhere, of an index that another program wrote, say.
func (l Leases) Acquire(ctx context.Context, p Place, floor uint32) (uint32, error) {
	for range leaseAttempts {
		last, _, err := l.last(ctx, p)
		if err != nil {
			return 0, fmt.Errorf("generation of tenant %s: %w", p.Tenant, err)
		}
		g := max(last, floor) + 1
		if g == 0 {
			return 0, fmt.Errorf("generation of tenant %s: %w: there is none above %d", p.Tenant, remote.ErrInvalid, max(last, floor))
		}
		body := strconv.FormatUint(uint64(g), 10) + "\n"
		_, err = l.Remote.Put(ctx, leaseKey(p, g), strings.NewReader(body), int64(len(body)), remote.PutOptions{IfAbsent: true})
		if errors.Is(err, remote.ErrExists) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("generation %d of tenant %s: %w", g, p.Tenant, err)
		}
		// Its object may have been there before, and gone with the coming of a higher one.
		now, keys, err := l.last(ctx, p)
		if err != nil {
			return 0, fmt.Errorf("generation %d of tenant %s: %w", g, p.Tenant, err)
		}
		if now == g {
			l.removeOld(ctx, p, g, keys)
			return g, nil
		}
	}
	return 0, fmt.Errorf("generation of tenant %s: %w: other writers were faster %d times", p.Tenant, remote.ErrUnavailable, leaseAttempts)
}

// removeOld takes away the objects of lower generations, which say nothing any more. Where it cannot they stay.
func (l Leases) removeOld(ctx context.Context, p Place, g uint32, keys []string) {
	var old []string
	for _, key := range keys {
		if key < leaseKey(p, g) {
			old = append(old, key)
		}
	}
	if len(old) > 0 {
		_ = l.Remote.Delete(ctx, old...)
	}
}

// Validate looks for a higher generation.
func (l Leases) Validate(ctx context.Context, p Place, generation uint32) (bool, error) {
	for _, err := range l.Remote.List(ctx, p.TenantPrefix()+leaseName, remote.ListOptions{After: leaseKey(p, generation)}) {
		return false, err
	}
	return true, nil
}
