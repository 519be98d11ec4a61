package tenant

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
)

// The tenant's manifest in remote storage, tenants/<tenant>/tenant-manifest-<generation>.json, says which timelines are
// offloaded. Names and shapes are Neon's (pageserver/src/tenant/remote_timeline_client/manifest.rs); fields that are not known
// here are kept.
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
	offloaded []offloaded
	rest      map[string]json.RawMessage
}

func parseManifest(b []byte) (m tenantManifest, err error) {
	if err := json.Unmarshal(b, &m.rest); err != nil {
		return m, err
	}
	var version int
	if err := json.Unmarshal(m.rest[fieldVersion], &version); err != nil {
		return m, fmt.Errorf("%s: %w", fieldVersion, err)
	}
	if raw, ok := m.rest[fieldOffloaded]; ok {
		if err := json.Unmarshal(raw, &m.offloaded); err != nil {
			return m, fmt.Errorf("%s: %w", fieldOffloaded, err)
		}
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
	out[fieldVersion] = manifestVersion
	out[fieldOffloaded] = append([]offloaded{}, m.offloaded...)
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

func (t *Tenant) manifestKey(generation uint32) string {
	return fmt.Sprintf("%s%s-%08x%s", t.place(page.TimelineID{}).TenantPrefix(), manifestName, generation, manifestSuffix)
}

// readManifest reads the newest manifest that is not above our generation; there need be none.
func (t *Tenant) readManifest(ctx context.Context) (m tenantManifest, err error) {
	store, newest := t.store.env.Remote, uint64(0)
	prefix := t.place(page.TimelineID{}).TenantPrefix() + manifestName + "-"
	for e, err := range store.List(ctx, prefix, remote.ListOptions{}) {
		if err != nil {
			return m, err
		}
		digits := strings.TrimSuffix(strings.TrimPrefix(e.Key, prefix), manifestSuffix)
		if g, err := strconv.ParseUint(digits, 16, 32); err == nil && g <= uint64(t.store.env.Generation(t.ShardID())) {
			newest = max(newest, g)
		}
	}
	if newest == 0 {
		return m, nil
	}
	key := t.manifestKey(uint32(newest))
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
	if err != nil {
		err = fmt.Errorf("%s: %w", key, err)
	}
	return m, err
}

// writeManifest has remote storage know which timelines are offloaded. The caller has the tenant's turn.
func (t *Tenant) writeManifest(ctx context.Context) error {
	if t.store.env.Remote == nil {
		return nil
	}
	m, err := t.readManifest(ctx)
	if err != nil {
		return err
	}
	before := m.offloaded
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
	if len(before) == 0 && len(m.offloaded) == 0 {
		return nil
	}
	b, err := m.encode()
	if err != nil {
		return err
	}
	_, err = t.store.env.Remote.Put(ctx, t.manifestKey(t.store.env.Generation(t.ShardID())), bytes.NewReader(b), int64(len(b)), remote.PutOptions{})
	return err
}
