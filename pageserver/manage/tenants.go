package manage

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

var errNoMetrics = errors.New("this server was made without metrics")

// status is Neon's StatusResponse.
type status struct {
	ID uint64 `json:"id"`
}

func (c *call) status(*none) (status, error) { return status{c.s.c.NodeID}, nil }

func (c *call) reloadKeys(*none) (none, error) {
	if c.s.c.Auth == nil {
		return none{}, badRequest("this server asks for no tokens")
	}
	return none{}, c.s.c.Auth.Reload()
}

func (c *call) setIOMode(name *string) (none, error) {
	for _, m := range []virtualfile.Mode{virtualfile.Buffered, virtualfile.Direct, virtualfile.DirectRW} {
		if m.String() == *name {
			return none{}, c.s.c.Engine.SetIOMode(m)
		}
	}
	return none{}, badRequest("there is no I/O mode %q: buffered, direct and direct-rw there are", *name)
}

// engines are those that there are, by Neon's names and ours.
var engines = map[string]virtualfile.EngineKind{
	"std-fs": virtualfile.EngineStd, "tokio-epoll-uring": virtualfile.EngineURing, "std": virtualfile.EngineStd, "uring": virtualfile.EngineURing,
}

func (c *call) setIOEngine(name *string) (none, error) {
	k, ok := engines[*name]
	if !ok {
		return none{}, badRequest("there is no I/O engine %q: std-fs and tokio-epoll-uring there are", *name)
	}
	if err := c.s.c.Engine.SetIOEngine(k); err != nil {
		return none{}, badRequest("%w", err)
	}
	return none{}, nil
}

// slug is how Neon writes a state.
type slug struct {
	Slug string `json:"slug"`
	Data any    `json:"data,omitempty"`
}

// reason is what is told of a state that is none to stay in.
type reason struct {
	Reason    string `json:"reason"`
	Backtrace string `json:"backtrace"`
}

// tenantInfo is Neon's TenantInfo.
type tenantInfo struct {
	ID           page.TenantShardID `json:"id"`
	State        slug               `json:"state"`
	PhysicalSize *int64             `json:"current_physical_size"`
	Attachment   slug               `json:"attachment_status"`
	Generation   uint32             `json:"generation"`
}

func newTenantInfo(t strata.TenantStatus) tenantInfo {
	out := tenantInfo{ID: t.ID, Generation: t.Generation, Attachment: slug{Slug: "attached"}}
	switch name := t.State.String(); t.State {
	case strata.StateBroken:
		out.State = slug{"Broken", reason{Reason: t.Reason}}
		out.Attachment = slug{"failed", map[string]string{"reason": t.Reason}}
	default:
		out.State = slug{Slug: strings.ToUpper(name[:1]) + name[1:]}
		if t.State == strata.StateAttaching {
			out.Attachment = slug{Slug: "maybe"}
		}
	}
	return out
}

func (c *call) listTenants(*none) ([]tenantInfo, error) {
	out := []tenantInfo{}
	for _, t := range c.s.c.Engine.TenantStatuses() {
		out = append(out, newTenantInfo(t))
	}
	return out, nil
}

// tenantRequest asks for a new tenant; without an id one is drawn.
type tenantRequest struct {
	ID *page.TenantID `json:"new_tenant_id"`
}

func (c *call) createTenant(r *tenantRequest) (page.TenantID, error) {
	var id page.TenantID
	if r.ID != nil {
		id = *r.ID
	}
	t, err := c.s.c.Engine.CreateTenant(c.Context(), id)
	if err != nil {
		return id, err
	}
	c.code = http.StatusCreated
	return t.ID(), nil
}

// tenantDetails is Neon's TenantDetails.
type tenantDetails struct {
	tenantInfo
	WALRedo   *struct{}         `json:"walredo"`
	Timelines []page.TimelineID `json:"timelines"`
}

func (c *call) tenantDetails(*none) (tenantDetails, error) {
	id, err := c.shardID()
	if err != nil {
		return tenantDetails{}, err
	}
	all := c.s.c.Engine.TenantStatuses()
	i := slices.IndexFunc(all, func(t strata.TenantStatus) bool { return t.ID == id })
	if i < 0 {
		return tenantDetails{}, fmt.Errorf("tenant %s: %w", id, strata.ErrTenantNotFound)
	}
	out := tenantDetails{tenantInfo: newTenantInfo(all[i]), Timelines: []page.TimelineID{}}
	t, err := c.s.c.Engine.Shard(c.Context(), id)
	if err != nil {
		return out, nil // it is not active, which the state tells
	}
	size := int64(0)
	for _, tl := range t.Timelines() {
		out.Timelines = append(out.Timelines, tl.ID)
		size += tl.LayerBytes
	}
	out.PhysicalSize = &size
	return out, nil
}

// location is what is understood of Neon's LocationConfig.
type location struct {
	Mode       string `json:"mode"`
	Generation uint32 `json:"generation"`
}

// locateReply is Neon's TenantLocationConfigResponse.
type locateReply struct {
	Shards []page.TenantShardID `json:"shards"`
}

func (c *call) locate(l *location) (locateReply, error) {
	id, err := c.shardID()
	if err != nil {
		return locateReply{}, err
	}
	out, e := locateReply{[]page.TenantShardID{id}}, c.s.c.Engine
	here := slices.ContainsFunc(e.TenantStatuses(), func(t strata.TenantStatus) bool { return t.ID == id })
	switch l.Mode {
	case "AttachedSingle":
		if !here {
			err = c.attach(id, l.Generation)
		}
	case "Detached":
		if out.Shards = []page.TenantShardID{}; here {
			err = e.DetachTenant(c.Context(), id.Tenant, strata.DetachOptions{})
		}
	default:
		err = badRequest("mode %q: AttachedSingle and Detached there are", l.Mode)
	}
	return out, err
}

// attach takes a tenant from remote storage; one that is not there, or without any remote, is made.
func (c *call) attach(id page.TenantShardID, generation uint32) error {
	if id.Shard.Count > 1 {
		return badRequest("shards are attached by `strata attach`: their stripe size is not in this request")
	}
	_, _, err := c.s.c.Engine.Attach(c.Context(), strata.AttachOptions{Tenant: id.Tenant, Generation: generation})
	if errors.Is(err, strata.ErrWithoutRemote) || errors.Is(err, strata.ErrTenantNotFound) {
		_, err = c.s.c.Engine.CreateTenant(c.Context(), id.Tenant)
	}
	return err
}

func (c *call) syntheticSize(*none) (any, error) {
	t, err := c.tenant()
	if err != nil {
		return nil, err
	}
	if !t.Shard().First() {
		return nil, badRequest("sizes are known to the first shard alone")
	}
	m, err := t.SizeModel(c.Context())
	if err != nil {
		return nil, err
	}
	if strings.Contains(c.Header.Get("Accept"), "text/html") {
		return html(m.SVG()), nil
	}
	return struct {
		ID     page.TenantID      `json:"id"`
		Size   uint64             `json:"size"`
		Points []strata.SizePoint `json:"segments"`
	}{t.ID(), m.Bytes, m.Points}, nil
}

// html is an answer that is no JSON.
type html []byte

func (c *call) heatmap(*none) (strata.HeatmapResult, error) {
	t, err := c.tenant()
	if err != nil {
		return strata.HeatmapResult{}, err
	}
	return t.WriteHeatmap(c.Context())
}

type serverKey struct{}

// serverOf finds the server of a request.
func serverOf(r *http.Request) *Server { return r.Context().Value(serverKey{}).(*Server) }

// with notes the server in a request.
func (s *Server) with(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), serverKey{}, s))
}
