package manage

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
)

// configRequest is Neon's TenantConfigRequest: a tenant, and the options that differ from the server's.
type configRequest map[string]json.RawMessage

// relSizeV2 is the one option that is taken.
const relSizeV2 = "rel_size_v2_enabled"

// configure takes what changes nothing, and has the tenant's timelines list their relations in both forms from their next records
// on, or not.
func (c *call) configure(r *configRequest) (none, error) {
	var id page.TenantShardID
	if err := json.Unmarshal((*r)["tenant_id"], &id); err != nil {
		return none{}, badRequest("the body: tenant_id: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(*r)) {
		if name != "tenant_id" && name != relSizeV2 && string((*r)[name]) != "null" {
			return none{}, badRequest("option %s: tenants have no such option of their own here; give it to strata serve", name)
		}
	}
	var enabled *bool
	if raw, ok := (*r)[relSizeV2]; ok {
		if err := json.Unmarshal(raw, &enabled); err != nil {
			return none{}, badRequest("option %s: %w", relSizeV2, err)
		}
	}
	t, err := c.s.c.Engine.Shard(c.Context(), id)
	if err != nil || enabled == nil {
		return none{}, err
	}
	return none{}, c.relSizes(t, *enabled)
}

// relSizes has all timelines of a tenant begin to go over to keys of relations' own, or calls that off. Those that have begun stay
// as they are, as do archived ones.
func (c *call) relSizes(t *strata.Tenant, enabled bool) error {
	form := page.RelDirV1
	if enabled {
		form = page.RelDirBoth
	}
	for _, i := range t.Timelines() {
		tl, err := t.Timeline(c.Context(), i.ID.String())
		if err != nil || tl.RelDirs().Form != page.RelDirV1 {
			continue
		}
		if err := tl.WantRelDirs(c.Context(), form); err != nil && !errors.Is(err, strata.ErrArchived) && !errors.Is(err, strata.ErrRelDirs) {
			return err
		}
	}
	return nil
}

// patchRequest is Neon's TimelinePatchIndexPartRequest.
type patchRequest struct {
	RelDirs      *page.RelDirForm `json:"rel_size_migration"`
	RelDirsSince *page.LSN        `json:"rel_size_migrated_at"`
}

// patch has a timeline list its relations in another form. Neon writes what it is told into the index; here the timeline goes over at
// its next record, and what would make a relation be missed is refused.
func (c *call) patch(r *patchRequest) (out timelineInfo, err error) {
	t, err := c.tenant()
	if err != nil {
		return out, err
	}
	tl, err := c.timeline()
	switch {
	case err != nil:
		return out, err
	case r.RelDirs == nil:
		return out, badRequest("rel_size_migration is wanted: migrating, then migrated; nothing else can be patched")
	case r.RelDirsSince != nil:
		return out, badRequest("rel_size_migrated_at: it will be the end of the next record")
	}
	if err := tl.WantRelDirs(c.Context(), *r.RelDirs); err != nil {
		if errors.Is(err, strata.ErrRelDirs) {
			err = &statusError{http.StatusConflict, err}
		}
		return out, err
	}
	return c.describe(t, tl, false)
}
