package pageserver

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pageserver/answer"
	"github.com/stratapg/strata/pageserver/pagestream"
)

// command is a query that was understood.
type command interface {
	run(ctx context.Context, c *conn) error
}

// place names a timeline.
type place struct {
	tenant   page.TenantID
	timeline page.TimelineID
}

// parsePlace takes the two ids that most commands begin with.
func parsePlace(words []string) (p place, rest []string, err error) {
	if len(words) < 2 {
		return p, nil, errors.New("a tenant's and a timeline's id are wanted")
	}
	if p.tenant, err = page.ParseTenantID(words[0]); err != nil {
		return p, nil, err
	}
	p.timeline, err = page.ParseTimelineID(words[1])
	return p, words[2:], err
}

// find gives the timeline of a place in all shards that are here, if the client may use it.
func (c *conn) find(ctx context.Context, p place) (*answer.Shards, error) {
	if err := c.allow(p.tenant); err != nil {
		return nil, err
	}
	return c.finder().Tenant(ctx, p.tenant, p.timeline)
}

// allow says whether the client may use a tenant. Each command that names one asks it, before it is looked for.
func (c *conn) allow(tenant page.TenantID) error {
	if c.s.c.Auth == nil {
		return nil
	}
	err := c.may.MayUse(tenant)
	if err != nil {
		c.s.metrics.denied.Add(1)
	}
	return err
}

// parseCommand understands a query. Its first word may be written in any case; ids are hexadecimal.
func parseCommand(query string) (command, error) {
	words := strings.Fields(strings.TrimSuffix(strings.TrimSpace(query), ";"))
	if len(words) == 0 {
		return nil, errors.New("an empty query")
	}
	parse, ok := commands[strings.ToLower(words[0])]
	if !ok {
		return nil, fmt.Errorf("%q is no command: there are pagestream_v2, pagestream_v3, basebackup, fullbackup, lease lsn and set", words[0])
	}
	if len(words) == 1 {
		return nil, fmt.Errorf("%s needs arguments", words[0])
	}
	cmd, err := parse(words[1:])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", words[0], err)
	}
	return cmd, nil
}

var commands = map[string]func(words []string) (command, error){
	"pagestream_v2": func(words []string) (command, error) { return parseStream(words, pagestream.V2) },
	"pagestream_v3": func(words []string) (command, error) { return parseStream(words, pagestream.V3) },
	"basebackup":    parseBaseBackup,
	"fullbackup":    parseFullBackup,
	"lease":         parseLease,
	"set":           func([]string) (command, error) { return ignored{}, nil },
}

func parseStream(words []string, v pagestream.Version) (command, error) {
	p, rest, err := parsePlace(words)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%q is too much", rest[0])
	}
	return streamCommand{p, v}, err
}

// selectOne ends a command as clients expect it.
func (c *conn) selectOne() { c.be.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}) }

type ignored struct{}

func (ignored) run(_ context.Context, c *conn) error {
	c.selectOne()
	return nil
}

// leaseCommand keeps an LSN readable for a while, in one shard.
type leaseCommand struct {
	shard    page.TenantShardID
	timeline page.TimelineID
	lsn      page.LSN
}

// leaseLength is Neon's default.
const leaseLength = 10 * time.Minute

func parseLease(words []string) (command, error) {
	if !strings.EqualFold(words[0], "lsn") {
		return nil, fmt.Errorf("%q instead of lsn", words[0])
	}
	if len(words) < 3 {
		return nil, errors.New("a tenant's or shard's and a timeline's id are wanted")
	}
	if len(words) != 4 {
		return nil, errors.New("one LSN is wanted behind the ids")
	}
	var l leaseCommand
	var err error
	if l.shard, err = page.ParseTenantShardID(words[1]); err != nil {
		return nil, err
	}
	if l.timeline, err = page.ParseTimelineID(words[2]); err != nil {
		return nil, err
	}
	l.lsn, err = page.ParseLSN(words[3])
	return l, err
}

func (l leaseCommand) run(ctx context.Context, c *conn) error {
	if err := c.allow(l.shard.Tenant); err != nil {
		return err
	}
	tl, err := c.finder().Shard(ctx, l.shard, l.timeline)
	if err != nil {
		return err
	}
	var until []byte // none where the lease is refused
	if end, err := tl.Lease(ctx, l.lsn, leaseLength); err == nil {
		until = strconv.AppendInt(nil, end.UnixMilli(), 10)
	} else if ctx.Err() != nil {
		return err
	}
	const text = 25
	c.be.Send(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("valid_until"), DataTypeOID: text, DataTypeSize: -1, TypeModifier: -1}}})
	c.be.Send(&pgproto3.DataRow{Values: [][]byte{until}})
	c.selectOne()
	return nil
}
