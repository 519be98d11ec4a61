package strata

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"

	"github.com/stratapg/strata/basebackup"
	"github.com/stratapg/strata/datadir"
	"github.com/stratapg/strata/internal/backupcache"
	"github.com/stratapg/strata/internal/tasks"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/control"
)

// BackupCacheOptions say where base backups are kept, which, and within which limits. With Dir set the engine keeps those
// of states that end in the checkpoint of a shutdown, which is what the next compute or server starts from. They are made in
// the background as soon as ingest has such a record, at Open for the last state of every timeline, and else when the first
// one asks; others that ask meanwhile wait for it. BaseBackup takes them from there by itself. docs/backups.md tells
// what is kept and when it is given.
type BackupCacheOptions struct {
	// Dir is the folder, in Options.FS; default none, which keeps nothing. It is this engine's alone.
	Dir string
	// Entries is how many are kept; default 10,000. Bytes is how long their files may be together, default 1 GiB. What was
	// used longest ago gives way. A backup longer than Bytes is made for each who asks.
	Entries int
	Bytes   int64
	// Preparations is how many are made at a time; default 2. Who comes when all are busy gets one that is not kept.
	Preparations int
	// Kinds are those kept; default what a Neon compute asks for: BackupCompute, gzip. Each costs the time and the
	// room of a backup at every shutdown.
	Kinds []BackupKind
}

// BackupCacheMetrics count what a cache of base backups did.
type BackupCacheMetrics = backupcache.Metrics

// BackupKind is a form of base backups.
type BackupKind struct {
	Format      BackupFormat
	Compression BackupCompression
	// Replica and NoSLRUs are those of BaseBackupOptions.
	Replica, NoSLRUs bool
}

// ParseBackupKind understands a format with what String puts behind it: compute+gzip, full+zstd:3, compute+replica.
func ParseBackupKind(s string) (k BackupKind, err error) {
	words := strings.Split(s, "+")
	if k.Format, err = basebackup.ParseFormat(words[0]); err != nil {
		return k, err
	}
	for _, w := range words[1:] {
		switch w {
		case "replica":
			k.Replica = true
		case "no-slrus":
			k.NoSLRUs = true
		default:
			if k.Compression, err = basebackup.ParseCompression(w); err != nil {
				return k, fmt.Errorf("%q: %w; or replica or no-slrus", s, err)
			}
		}
	}
	return k, k.validate()
}

// String gives what ParseBackupKind understands.
func (k BackupKind) String() string {
	s := k.Format.String()
	if k.Compression.Algorithm != basebackup.NoCompression {
		s += "+" + k.Compression.String()
	}
	if k.Replica {
		s += "+replica"
	}
	if k.NoSLRUs {
		s += "+no-slrus"
	}
	return s
}

func (k BackupKind) validate() error {
	if k.Format != BackupCompute && (k.Replica || k.NoSLRUs) {
		return fmt.Errorf("backups of kind %s: replica and no-slrus are for a compute", k)
	}
	return nil
}

// validate reports every fault at once.
func (o BackupCacheOptions) validate() error {
	if o.Dir == "" {
		return nil
	}
	errs := []error{o.options().Validate()}
	for _, k := range o.Kinds {
		errs = append(errs, k.validate())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("strata.Options.BackupCache: %w", err)
	}
	return nil
}

func (o BackupCacheOptions) options() backupcache.Options {
	return backupcache.Options{Dir: o.Dir, Entries: o.Entries, Bytes: o.Bytes, Preparations: o.Preparations}
}

// stoppedQueue is how many shutdowns may wait for their backups; those beyond wait for the first who asks.
const stoppedQueue = 100

// backupCache keeps backups for an engine. A nil one keeps none.
type backupCache struct {
	*backupcache.Cache
	kinds   []BackupKind
	stopped chan stoppedState
	tasks   *tasks.Group
	skipped atomic.Int64 // shutdowns for which the queue had no place
}

// stoppedState is a timeline that had come to the end of a shutdown.
type stoppedState struct {
	tl  *Timeline
	lsn page.LSN
}

// openBackupCache opens the cache, if one is wanted.
func (e *Engine) openBackupCache() error {
	o := e.options.BackupCache
	if o.Dir == "" {
		return nil
	}
	co := o.options()
	co.FS, co.Logger = e.options.FS, e.options.Logger
	opened, err := backupcache.Open(co)
	if err != nil {
		return err
	}
	if len(o.Kinds) == 0 {
		o.Kinds = []BackupKind{{Format: BackupCompute, Compression: BackupCompression{Algorithm: basebackup.Gzip}}}
	}
	c := &backupCache{Cache: opened, kinds: o.Kinds, stopped: make(chan stoppedState, stoppedQueue), tasks: tasks.New()}
	e.backups = c
	// The store comes after it: preparations read there.
	e.closers = append([]func() error{c.close}, e.closers...)
	return c.tasks.Go(func(ctx context.Context) {
		c.prepareAll(ctx, e)
		c.prepareStopped(ctx)
	})
}

func (c *backupCache) close() error {
	c.tasks.Stop()
	return c.Close()
}

// shutdownOf gives what an ingester tells of shutdowns.
func (c *backupCache) shutdownOf(tl *Timeline) func(page.LSN) {
	if c == nil {
		return nil
	}
	return func(end page.LSN) {
		select {
		case c.stopped <- stoppedState{tl, end}:
		default:
			c.skipped.Add(1)
		}
	}
}

// prepareStopped makes the backups of shutdowns as they come.
func (c *backupCache) prepareStopped(ctx context.Context) {
	for {
		select {
		case s := <-c.stopped:
			c.prepare(ctx, s.tl, s.lsn)
		case <-ctx.Done():
			return
		}
	}
}

// prepareAll makes those of the last states, until something would have to give way for another.
func (c *backupCache) prepareAll(ctx context.Context, e *Engine) {
	evictions := c.Metrics().Evictions
	for _, id := range e.Tenants() {
		t, err := e.Tenant(ctx, id)
		if err != nil {
			continue // it is sharded, or going
		}
		for _, i := range t.Timelines() {
			if ctx.Err() != nil || c.Metrics().Evictions != evictions {
				return
			}
			if tl, err := t.Timeline(ctx, i.ID.String()); err == nil {
				c.prepare(ctx, tl, tl.LastRecordLSN())
			}
		}
	}
}

// prepare makes all kinds of backups of a state, if it is a timeline's last still. What fails the cache counts and logs; the
// first who asks will try again.
func (c *backupCache) prepare(ctx context.Context, tl *Timeline, lsn page.LSN) {
	if !tl.Shard().Alone() {
		return
	}
	for _, k := range c.kinds {
		if tl.LastRecordLSN() != lsn {
			return
		}
		o := BaseBackupOptions{LSN: lsn, Format: k.Format, Compression: k.Compression, Replica: k.Replica, NoSLRUs: k.NoSLRUs}
		bo, err := backupOptions(tl, o, lsn)
		if err != nil {
			return
		}
		r := backupRequest{tl, []*Timeline{tl}, bo}
		if key, ok := r.key(ctx); ok {
			_ = c.Prepare(ctx, key, r.fill)
		}
	}
}

// BackupSender is what the writer that a base backup goes to may be besides: one that sends a file as it is, without reading it. It is
// used for backups that are kept (Options.BackupCache), and gets files that nobody can change until it closes them.
type BackupSender = backupcache.Sender

// BackupFile is a kept backup that is being sent.
type BackupFile = backupcache.LeasedFile

// serve writes a backup from the cache, if it is of a kind that is kept and could be had. done says that it was, or failed in
// the middle.
func (c *backupCache) serve(ctx context.Context, w io.Writer, r backupRequest) (res BaseBackupResult, done bool, err error) {
	if c == nil || !c.keeps(r.o) {
		return res, false, nil
	}
	key, ok := r.key(ctx)
	if !ok {
		return res, false, nil
	}
	b, err := c.Fetch(ctx, key, r.fill)
	if err != nil {
		return res, ctx.Err() != nil, ctx.Err()
	}
	res = BaseBackupResult{LSN: r.o.LSN, Files: b.Files()}
	res.Bytes, err = b.Copy(ctx, w)
	if err = errors.Join(err, b.Close()); err != nil {
		err = fmt.Errorf("base backup at %s: %w", r.o.LSN, err)
	}
	return res, true, err
}

// keeps says whether backups like that are kept.
func (c *backupCache) keeps(o basebackup.Options) bool {
	if o.Manifest || o.Parent != page.InvalidLSN || o.WAL != nil {
		return false
	}
	name := BackupKind{Format: o.Format, Compression: o.Compression, Replica: o.Replica, NoSLRUs: o.NoSLRUs}.String()
	return slices.ContainsFunc(c.kinds, func(k BackupKind) bool { return k.String() == name })
}

// forgetTenant takes out what is kept of a tenant.
func (c *backupCache) forgetTenant(id page.TenantID) {
	if c != nil {
		c.Remove(func(k backupcache.Key) bool { return k.Tenant == id })
	}
}

// forgetGone takes out what is kept of a tenant's timelines that are not there any more.
func (c *backupCache) forgetGone(t *Tenant) {
	if c == nil {
		return
	}
	there := map[page.TimelineID]bool{}
	for _, i := range t.Timelines() {
		there[i.ID] = true
	}
	c.Remove(func(k backupcache.Key) bool { return k.Tenant == t.ID() && !there[k.Timeline] })
}

// backupRequest is a backup with all that its bytes depend on.
type backupRequest struct {
	src   backupSource
	parts []*Timeline
	o     basebackup.Options
}

// write makes the backup.
func (r backupRequest) write(ctx context.Context, w io.Writer) (basebackup.Result, error) {
	return basebackup.Write(ctx, w, r.src, r.o)
}

// fill makes the backup for the cache. The state is made durable first: after a crash, WAL of another server could follow where it
// was lost, and come to another state of the same LSN.
func (r backupRequest) fill(ctx context.Context, w io.Writer) (int, error) {
	for _, p := range r.parts {
		if p.DiskConsistentLSN() < r.o.LSN {
			if err := p.Flush(ctx); err != nil {
				return 0, err
			}
		}
	}
	release, err := holdAll(ctx, r.parts, r.o.LSN)
	if err != nil {
		return 0, err
	}
	defer release()
	res, err := r.write(ctx, w)
	return res.Files, err
}

// key names the backup. ok is false if the state is not a shutdown's.
func (r backupRequest) key(ctx context.Context) (key backupcache.Key, ok bool) {
	state, ok := stoppedAt(ctx, r.src, r.o.LSN, r.o.Version)
	if !ok {
		return key, false
	}
	m, o := r.parts[0].t.Meta(), r.o
	return backupcache.Key{Tenant: m.Tenant, Timeline: m.Timeline, LSN: o.LSN,
		Kind: fmt.Sprintf("revision %d, PostgreSQL %d, %s, %s, replica %t, no SLRUs %t, record before %s, branch point %t, time %d, state %016x",
			basebackup.Revision, o.Version, o.Format, o.Compression, o.Replica, o.NoSLRUs, o.PrevLSN, o.BranchPoint, o.ModTime.Unix(), state)}, true
}

// stoppedAt reports whether a state is a server's that was shut down, and what tells it from another history's at the same LSN: a
// checksum of the control file and the checkpoint, which name the cluster and its timeline, and have the time of the shutdown.
func stoppedAt(ctx context.Context, src datadir.Reader, lsn page.LSN, version pg.Version) (state uint64, ok bool) {
	snap := datadir.At(src, lsn, version)
	rawControl, err := snap.ControlFile(ctx)
	if err != nil {
		return 0, false // the backup will say what is wrong
	}
	rawCheckPoint, err := snap.CheckPoint(ctx)
	if err != nil {
		return 0, false
	}
	ctl, err := control.Parse(rawControl)
	if err != nil {
		return 0, false
	}
	cp, err := control.ParseCheckPoint(rawCheckPoint)
	if err != nil {
		return 0, false
	}
	// What Neon keeps of a shutdown is its record's end; a stock server's checkpoint begins where its redo pointer is.
	neon := cp.Redo() == lsn
	stock := ctl.CheckPointLSN() == cp.Redo() && ctl.ShutdownCheckpointEnd() == lsn
	return xxhash.Sum64(append(rawControl[:len(rawControl):len(rawControl)], rawCheckPoint...)), neon || stock
}
