package tenant

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
)

// The tenant's manifest in remote storage, tenants/<tenant>/tenant-manifest-<generation>.json, says which timelines are
// offloaded, and of a shard how large its stripes are. Names and shapes are Neon's
// (pageserver/src/tenant/remote_timeline_client/manifest.rs); fields that are not known here are kept, and so is the version of a
// newer form.
const (
	manifestName    = "tenant-manifest"
	manifestSuffix  = ".json"
	manifestVersion = 2
	maxManifest     = 256 << 20
	naiveTime       = "2006-01-02T15:04:05.999999999" // UTC, without saying so
)

// Names of the manifest's fields.
const (
	fieldVersion   = "version"
	fieldOffloaded = "offloaded_timelines"
	fieldStripe    = "stripe_size"
)

// offloaded is an entry of the manifest.
type offloaded struct {
	ID          page.TimelineID  `json:"timeline_id"`
	Ancestor    *page.TimelineID `json:"ancestor_timeline_id"`
	AncestorLSN *page.LSN        `json:"ancestor_retain_lsn"`
	Archived    string           `json:"archived_at"`
}

// tenantManifest is the document.
type tenantManifest struct {
	version   int    // 0 if there is none in remote storage
	stripe    uint32 // 0 where it does not say
	offloaded []offloaded
	rest      map[string]json.RawMessage
	// key is its object, and older are those of writers before that one.
	key   string
	older []string
}

func parseManifest(b []byte) (m tenantManifest, err error) {
	if err := json.Unmarshal(b, &m.rest); err != nil {
		return m, err
	}
	for name, to := range map[string]any{fieldVersion: &m.version, fieldOffloaded: &m.offloaded, fieldStripe: &m.stripe} {
		raw, ok := m.rest[name]
		if !ok && name != fieldVersion {
			continue
		}
		if err := json.Unmarshal(raw, to); err != nil {
			return m, fmt.Errorf("%s: %w", name, err)
		}
	}
	if m.version < 1 {
		return m, fmt.Errorf("%s is %d", fieldVersion, m.version)
	}
	for i := range m.offloaded {
		o := &m.offloaded[i]
		if _, err := time.Parse(naiveTime, o.Archived); err != nil || (o.Ancestor == nil) != (o.AncestorLSN == nil) {
			return m, fmt.Errorf("%s: timeline %s: %w", fieldOffloaded, o.ID, errors.Join(err, errors.New("want archived_at, and an ancestor with its LSN or none")))
		}
	}
	return m, nil
}

func (m *tenantManifest) encode() ([]byte, error) {
	out := map[string]any{}
	for name, raw := range m.rest {
		out[name] = raw
	}
	out[fieldVersion] = max(m.version, manifestVersion)
	out[fieldOffloaded] = append([]offloaded{}, m.offloaded...)
	if delete(out, fieldStripe); m.stripe != 0 {
		out[fieldStripe] = m.stripe
	}
	return json.Marshal(out)
}

// record says of an entry what the local file would.
func (o *offloaded) record() record {
	r := record{word: wordOffloaded, id: o.ID, name: "timeline-" + o.ID.String()}
	r.archived, _ = time.Parse(naiveTime, o.Archived) // it was checked
	if o.Ancestor != nil {
		r.ancestor, r.lsn = *o.Ancestor, *o.AncestorLSN
	}
	return r
}

func manifestKey(p upload.Place, generation uint32) string {
	return fmt.Sprintf("%s%s-%08x%s", p.TenantPrefix(), manifestName, generation, manifestSuffix)
}

// readManifest reads the newest manifest of a tenant that is not above a generation; there need be none.
func readManifest(ctx context.Context, store remote.Storage, p upload.Place, generation uint32) (m tenantManifest, err error) {
	newest := uint64(0)
	var keys []string
	prefix := p.TenantPrefix() + manifestName + "-"
	for e, err := range store.List(ctx, prefix, remote.ListOptions{}) {
		if err != nil {
			return m, err
		}
		digits := strings.TrimSuffix(strings.TrimPrefix(e.Key, prefix), manifestSuffix)
		if g, err := strconv.ParseUint(digits, 16, 32); err == nil && g <= uint64(generation) {
			newest = max(newest, g)
			keys = append(keys, e.Key)
		}
	}
	if newest == 0 {
		return m, nil
	}
	key := manifestKey(p, uint32(newest))
	d, err := store.Get(ctx, key, remote.GetOptions{})
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, d.Body.Close()) }()
	if d.Length > maxManifest {
		return m, fmt.Errorf("%s: %w: %d bytes", key, remote.ErrSize, d.Length)
	}
	b := make([]byte, d.Length)
	if _, err = io.ReadFull(d.Body, b); err == nil {
		m, err = parseManifest(b)
	}
	m.key, m.older = key, slices.DeleteFunc(keys, func(k string) bool { return k == key })
	if err != nil {
		err = fmt.Errorf("%s: %w", key, err)
	}
	return m, err
}

// readManifest reads the tenant's newest manifest.
func (t *Tenant) readManifest(ctx context.Context) (tenantManifest, error) {
	return readManifest(ctx, t.store.env.Remote, t.place(page.TimelineID{}), t.store.env.Generation(t.ShardID()))
}

// writeManifest has remote storage know which timelines are offloaded, and how a shard's keys are dealt out, unless it knows. The caller
// has the tenant's turn.
func (t *Tenant) writeManifest(ctx context.Context) error {
	if t.store.env.Remote == nil {
		return nil
	}
	m, err := t.readManifest(ctx)
	if err != nil {
		return err
	}
	return t.changeManifest(ctx, m)
}

// changeManifest writes what a manifest that was read has to say now, if that is something else.
func (t *Tenant) changeManifest(ctx context.Context, m tenantManifest) error {
	before, _ := m.encode() // it was read
	if t.shard.Count > 0 {
		m.stripe = t.shard.StripeSize
	}
	m.offloaded = nil
	for _, r := range slices.SortedFunc(maps.Values(t.records), func(a, b record) int { return bytes.Compare(a.id[:], b.id[:]) }) {
		if r.word != wordOffloaded {
			continue
		}
		o := offloaded{ID: r.id, Archived: r.archived.UTC().Format(naiveTime)}
		if r.lsn != 0 {
			o.Ancestor, o.AncestorLSN = &r.ancestor, &r.lsn
		}
		m.offloaded = append(m.offloaded, o)
	}
	b, err := m.encode()
	if err != nil {
		return err
	}
	if !bytes.Equal(b, before) {
		key := manifestKey(t.place(page.TimelineID{}), t.store.env.Generation(t.ShardID()))
		if _, err = t.store.env.Remote.Put(ctx, key, bytes.NewReader(b), int64(len(b)), remote.PutOptions{}); err != nil {
			return err
		}
		if m.key != "" && m.key != key {
			m.older = append(m.older, m.key)
		}
	}
	if err := t.removeManifests(ctx, m.older); err != nil {
		t.store.env.Logger.Warn("old manifests of a tenant stay in remote storage; that is tried again with the next", "tenant", t.ShardID(), "err", err)
	}
	return nil
}

// removeManifests removes those of former writers, unless there is a later one than this.
func (t *Tenant) removeManifests(ctx context.Context, keys []string) error {
	if len(keys) == 0 {
		return nil
	}
	env := t.store.env
	if valid, err := env.Validator().Validate(ctx, t.place(page.TimelineID{}), env.Generation(t.ShardID())); err != nil || !valid {
		return err
	}
	return env.Remote.Delete(ctx, keys...)
}

// inheritManifest writes the manifest of a shard, with all that the one of the tenant that was split says and nobody here knows.
func (t *Tenant) inheritManifest(ctx context.Context, from *Tenant) error {
	if t.store.env.Remote == nil {
		return nil
	}
	m, err := from.readManifest(ctx)
	if err != nil {
		return err
	}
	own, err := t.readManifest(ctx) // of a split that came to nothing
	if err != nil {
		return err
	}
	m.key, m.older = own.key, own.older
	m.stripe = 0 // so that it is written
	return t.changeManifest(ctx, m)
}

// stripeOf completes what is known of a shard that is to be attached: how large its stripes are stands in the manifest of its last
// writer. One that says nothing of it was written before stripes had another size than the first.
func (s *Store) stripeOf(ctx context.Context, tenant page.TenantID, shard page.ShardIdentity, generation uint32) (page.ShardIdentity, error) {
	if shard.Count == 0 {
		return shard, nil
	}
	if shard.Layout == 0 {
		shard.Layout = page.ShardLayoutV1
	}
	if generation == 0 {
		generation = math.MaxUint32
	}
	m, err := readManifest(ctx, s.env.Remote, upload.Place{Tenant: tenant, Shard: shard.Suffix()}, generation)
	switch {
	case err != nil:
		return shard, err
	case shard.StripeSize == 0 && m.version == 0:
		return shard, fmt.Errorf("remote storage does not say how large the stripes of shard %s are: name it", shard.ShardIndex)
	case shard.StripeSize == 0 && m.stripe == 0:
		shard.StripeSize = page.LegacyStripeSize
	case shard.StripeSize == 0:
		shard.StripeSize = m.stripe
	case m.stripe != 0 && m.stripe != shard.StripeSize:
		return shard, fmt.Errorf("shard %s has stripes of %d pages, as its manifest in remote storage says, not of %d", shard.ShardIndex, m.stripe, shard.StripeSize)
	}
	return shard, nil
}
