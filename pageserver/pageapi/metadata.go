package pageapi

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pageserver/answer"
)

// Keys of metadata, as Neon's clients send them.
const (
	TenantKey        = "neon-tenant-id"
	TimelineKey      = "neon-timeline-id"
	ShardKey         = "neon-shard-id"
	AuthorizationKey = "authorization"
)

// place is where a call goes.
type place struct {
	tenant   page.TenantID
	timeline page.TimelineID
	shard    page.ShardIndex
}

// parsePlace understands a call's metadata. Its errors are statuses.
func parsePlace(md metadata.MD) (p place, err error) {
	for _, f := range []struct {
		key   string
		parse func(string) error
	}{
		{TenantKey, func(v string) (err error) { p.tenant, err = page.ParseTenantID(v); return }},
		{TimelineKey, func(v string) (err error) { p.timeline, err = page.ParseTimelineID(v); return }},
		{ShardKey, func(v string) (err error) { p.shard, err = page.ParseShardIndex(v); return }},
	} {
		v, err := only(md, f.key)
		if err == nil && v == "" {
			err = fmt.Errorf("metadata %s are missing", f.key)
		}
		if err == nil {
			err = f.parse(v)
		}
		if err != nil {
			return p, status.Error(codes.InvalidArgument, err.Error())
		}
	}
	return p, nil
}

// only gives the one value of a key, or nothing.
func only(md metadata.MD, key string) (string, error) {
	switch v := md.Get(key); len(v) {
	case 0:
		return "", nil
	case 1:
		return v[0], nil
	default:
		return "", fmt.Errorf("metadata %s are there %d times", key, len(v))
	}
}

// allow holds a call's token against its tenant.
func (s *Server) allow(md metadata.MD, tenant page.TenantID) error {
	if s.c.Auth == nil {
		return nil
	}
	v, err := only(md, AuthorizationKey)
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	if v == "" {
		return status.Error(codes.Unauthenticated, "a token is wanted: metadata authorization, \"Bearer ...\"")
	}
	const scheme = "bearer "
	if len(v) < len(scheme) || !strings.EqualFold(v[:len(scheme)], scheme) {
		return status.Error(codes.InvalidArgument, "authorization is by \"Bearer ...\" alone")
	}
	claims, err := s.c.Auth.Verify(v[len(scheme):])
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	if err := claims.MayUse(tenant); err != nil {
		return status.Error(codes.PermissionDenied, err.Error())
	}
	return nil
}

// find gives the timeline that a call is about, if its client may use it. Each call goes through it.
func (s *Server) find(ctx context.Context) (*answer.Shards, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	p, err := parsePlace(md)
	if err != nil {
		return nil, err
	}
	if err := s.allow(md, p.tenant); err != nil {
		s.metrics.denied.Add(1)
		return nil, err
	}
	f := answer.Finder{Engine: s.c.Engine, Limit: s.c.WaitLSN, Waiting: func() { s.metrics.waits.Add(1) }}
	tl, err := f.Shard(ctx, page.TenantShardID{Tenant: p.tenant, Shard: p.shard}, p.timeline)
	if err != nil {
		return nil, s.status(ctx, err)
	}
	return tl, nil
}

// findFirst is find for what shard 0 alone has.
func (s *Server) findFirst(ctx context.Context) (*answer.Shards, *answer.Source, error) {
	tl, err := s.find(ctx)
	if err != nil {
		return nil, nil, err
	}
	src, err := tl.First()
	if err != nil {
		return nil, nil, s.status(ctx, err)
	}
	return tl, src, nil
}
