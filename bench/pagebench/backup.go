package pagebench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/pageserver/client"
)

// Backup says how base backups are asked for.
type Backup struct {
	Addr    string
	Connect client.Options
	// Engine, if set, is asked instead of a server, for backups of the same form without compression.
	Engine *strata.Engine
	// NoCompression asks for the archive as it is, without gzip.
	NoCompression bool
	// Runtime is how long; 0 until the context ends.
	Runtime time.Duration
}

// Run takes backups of all targets, one client for each as Neon's pagebench does, and measures from the request to the last
// byte.
func (b Backup) Run(ctx context.Context, targets []Target) (Result, error) {
	limited, cancel := context.WithCancel(ctx)
	if b.Runtime > 0 {
		limited, cancel = context.WithTimeout(ctx, b.Runtime)
	}
	defer cancel()
	begin := time.Now()
	all, inner := errgroup.WithContext(limited)
	took := make([]Latencies, len(targets))
	for i, t := range targets {
		took[i] = newLatencies()
		all.Go(func() error { return b.loop(inner, t, took[i]) })
	}
	err := all.Wait()
	if limited.Err() != nil && errors.Is(err, limited.Err()) {
		err = nil
	}
	r := Result{Total: newLatencies(), Elapsed: time.Since(begin)}
	for _, l := range took {
		r.Total.h.Merge(l.h)
	}
	return r, err
}

func (b *Backup) loop(ctx context.Context, t Target, took Latencies) error {
	take := b.overProtocol
	if b.Engine != nil {
		take = b.inProcess
	}
	for {
		begun := time.Now()
		if err := take(ctx, t, &begun); err != nil {
			return errors.Join(ended(ctx), err)
		}
		took.add(time.Since(begun))
	}
}

// ended gives the context's error, also where its timer is a moment behind the deadline by which a dial ends itself.
func ended(ctx context.Context) error {
	if at, ok := ctx.Deadline(); ok && !time.Now().Before(at) {
		<-ctx.Done()
	}
	return ctx.Err()
}

func (b *Backup) inProcess(ctx context.Context, t Target, _ *time.Time) error {
	tl, err := Library{b.Engine}.timeline(ctx, t)
	if err == nil {
		_, err = tl.BaseBackup(ctx, io.Discard, strata.BaseBackupOptions{Format: strata.BackupCompute})
	}
	return err
}

// overProtocol takes one backup on a connection of its own, and notes when it was asked for.
func (b *Backup) overProtocol(ctx context.Context, t Target, begun *time.Time) error {
	query := fmt.Sprintf("basebackup %s %s latest", t.Tenant, t.Timeline)
	if !b.NoCompression {
		query += " --gzip"
	}
	c, err := client.Dial(ctx, b.Addr, b.Connect)
	if err != nil {
		return err
	}
	defer c.Abort()
	defer context.AfterFunc(ctx, c.Abort)()
	*begun = time.Now()
	_, err = c.Copy(query, io.Discard)
	return err
}
