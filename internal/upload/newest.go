package upload

import (
	"context"
	"fmt"
	"strings"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/remote"
)

// Newest gives the highest generation of which a timeline has an index; found says whether it has any.
func Newest(ctx context.Context, s remote.Storage, p Place) (generation uint32, found bool, err error) {
	found, generation, err = indexes(ctx, s, p)
	return generation, found, err
}

// Timelines lists the timelines of which a tenant has objects, in no order that means anything. The timeline of the place does not
// count.
func Timelines(ctx context.Context, s remote.Storage, p Place) (ids []page.TimelineID, err error) {
	prefix := p.TenantPrefix() + "timelines/"
	for e, err := range s.List(ctx, prefix, remote.ListOptions{Delimited: true}) {
		if err != nil {
			return nil, fmt.Errorf("timelines of tenant %s: %w", p.Tenant, err)
		}
		if id, err := page.ParseTimelineID(strings.TrimSuffix(strings.TrimPrefix(e.Prefix, prefix), "/")); err == nil {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
