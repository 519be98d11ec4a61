package pagebench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/stratapg/strata/page"
)

// Idle opens many streams of pages that then ask for nothing, and sees what that costs the server's memory.
type Idle struct {
	API *API
	// Way is how they are opened. Over gRPC a connection has PerConnection streams (default 100), else each stream one.
	Way Way
	// Count is how many.
	Count, PerConnection int
	// SendRequest has each stream ask for one page first.
	SendRequest bool
	// Progress, if set, is told of each hundred.
	Progress func(opened int)
}

// IdleResult says what streams cost. Memory is 0 where the server does not tell.
type IdleResult struct {
	Streams int `json:"streams"`
	// Before and After are the server's resident memory, PerStream what it grew by for each.
	Before    int64   `json:"resident_bytes_before"`
	After     int64   `json:"resident_bytes_after"`
	PerStream float64 `json:"bytes_per_stream"`
}

// Open opens the streams. They stay open until close is called.
func (i Idle) Open(ctx context.Context, t Target) (r IdleResult, close func(), err error) {
	var open []connection
	close = func() {
		for _, c := range open {
			c.abort()
		}
	}
	defer func() {
		if err != nil {
			close()
		}
	}()
	connect := i.Way.connect
	if g, ok := i.Way.(GRPC); ok {
		connect = shareConnections(g, max(i.PerConnection, 1))
	}
	r.Before = i.API.resident(ctx)
	for n := range i.Count {
		c, err := connect(ctx, t, 1)
		if err != nil {
			return r, close, fmt.Errorf("stream %d: %w", n+1, err)
		}
		open = append(open, c)
		if i.SendRequest {
			if err := askOnce(c); err != nil {
				return r, close, fmt.Errorf("stream %d: %w", n+1, err)
			}
		}
		if (n+1)%100 == 0 && i.Progress != nil {
			i.Progress(n + 1)
		}
	}
	r.Streams, r.After = len(open), i.API.resident(ctx)
	if r.Before > 0 && r.Streams > 0 {
		r.PerStream = float64(r.After-r.Before) / float64(r.Streams)
	}
	return r, close, nil
}

// everywhere is a relation that each cluster has, pg_database: the one that Neon asks for.
var everywhere = page.RelTag{Spc: 1664, Rel: 1262}

func askOnce(c connection) error {
	c.queue(Blocks{everywhere, 0, 1}, page.MaxLSN, 1)
	if err := c.flush(); err != nil {
		return err
	}
	return c.receive(1)
}

// resident asks for the server's resident memory.
func (a *API) resident(ctx context.Context) int64 {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(a.Endpoint, "/")+"/metrics", nil)
	if err != nil {
		return 0
	}
	client := a.Client
	if client == nil {
		client = http.DefaultClient
	}
	answer, err := client.Do(r)
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if v, ok := strings.CutPrefix(lines.Text(), "process_resident_memory_bytes "); ok {
			n, err := strconv.ParseFloat(v, 64)
			if errors.Is(err, strconv.ErrSyntax) {
				return 0
			}
			return int64(n)
		}
	}
	return 0
}

// Hold waits until ctx ends or, if it is bounded, for d at most.
func Hold(ctx context.Context, d time.Duration, bounded bool) {
	if bounded {
		_ = sleepUntil(ctx, time.Now().Add(d))
		return
	}
	<-ctx.Done()
}
