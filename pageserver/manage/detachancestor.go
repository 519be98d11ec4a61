package manage

import (
	"errors"
	"net/http"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
)

// detachedReply is Neon's AncestorDetached.
type detachedReply struct {
	Reparented []page.TimelineID `json:"reparented_timelines"`
}

// detachAncestor detaches a timeline of a tenant or of one shard. Of Neon's two ways it knows the first: from an ancestor that is no branch,
// and what else branches from that at the same LSN or below becomes a branch of the timeline.
func (c *call) detachAncestor(*none) (out detachedReply, err error) {
	if v := c.URL.Query().Get("detach_behavior"); v != "" && v != "v1" {
		return out, badRequest("detach_behavior %q: v1 there is", v)
	}
	t, err := c.tenant()
	if err != nil {
		return out, err
	}
	id, err := c.timelineID()
	if err != nil {
		return out, err
	}
	d, err := t.DetachAncestor(c.Context(), id.String(), strata.DetachAncestorOptions{})
	if errors.Is(err, strata.ErrArchived) {
		err = &statusError{http.StatusBadRequest, err}
	}
	if out.Reparented = d.Reparented; out.Reparented == nil {
		out.Reparented = []page.TimelineID{}
	}
	return out, err
}
