package receive

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// ErrForeign marks a server that cannot continue this timeline: another cluster, version or segment size.
var ErrForeign = errors.New("not the server this timeline comes from")

// timelineEnded says that the server has switched to another of PostgreSQL's timelines.
type timelineEnded struct {
	next uint32
	at   page.LSN
}

func (t *timelineEnded) Error() string {
	return fmt.Sprintf("the server's timeline ended at %s, %d follows", t.at, t.next)
}

const (
	connectTimeout  = 30 * time.Second
	closeTimeout    = 5 * time.Second
	applicationName = "strata"
)

// session is one connection: it returns nil where Until is reached.
func (r *receiver) session(ctx context.Context) error {
	conn, err := connect(ctx, r.o.ConnInfo)
	if err != nil {
		return err
	}
	defer func() {
		// A connection whose stream has not ended cannot be closed politely; the server sees it go.
		cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		_ = conn.Close(cctx)
	}()
	if err := r.identify(ctx, conn); err != nil {
		return err
	}
	r.met = true
	if err := r.makeSlot(ctx, conn); err != nil {
		return err
	}
	s := &stream{conn: conn, o: r.o, pos: &r.pos, chunks: make(chan chunk, maxChunks), done: make(chan struct{}),
		flush: make(chan struct{}, 1)}
	start := r.o.Store.LastRecordLSN()
	if err := s.start(ctx, start, r.tli); err != nil {
		return err
	}
	r.o.Logger.Info("streaming", "from", start.String(), "timeline", r.tli, "slot", r.o.Slot)
	return r.stream(ctx, s)
}

// stream runs both halves of a session: one talks to the server, this one ingests. Whichever fails first,
// what was received before is ingested.
func (r *receiver) stream(ctx context.Context, s *stream) error {
	var g errgroup.Group
	g.Go(func() error { return s.run(ctx) })
	done, err := r.apply(ctx, s.chunks, s.flush)
	if done || ctx.Err() != nil {
		// Make it durable before the stream ends, so that its last message can say so.
		err = errors.Join(err, r.finish(ctx))
	}
	close(s.done)
	serr := g.Wait()
	switch {
	case done || err != nil:
		return err
	case serr != nil:
		return serr
	}
	return errStreamEnded
}

// errStreamEnded is a stream that the server ended without saying why, as it does when it shuts down.
var errStreamEnded = errors.New("the server ended the stream")

// connect makes a connection that understands replication commands.
func connect(ctx context.Context, conninfo string) (*pgconn.PgConn, error) {
	cfg, err := pgconn.ParseConfig(conninfo)
	if err != nil {
		return nil, fmt.Errorf("connection string: %w", err)
	}
	cfg.RuntimeParams["replication"] = "true"
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = applicationName
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTimeout
	}
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return conn, nil
}

// row runs a replication command that answers with one row.
func row(ctx context.Context, conn *pgconn.PgConn, command string, columns int) ([]string, error) {
	res, err := conn.Exec(ctx, command).ReadAll()
	if err != nil {
		return nil, commandError(command, err)
	}
	if len(res) == 0 || len(res[0].Rows) != 1 || len(res[0].Rows[0]) < columns {
		return nil, fmt.Errorf("%s: unexpected answer", command)
	}
	out := make([]string, len(res[0].Rows[0]))
	for i, c := range res[0].Rows[0] {
		out[i] = string(c)
	}
	return out, nil
}

// identify checks that the server's WAL continues ours.
func (r *receiver) identify(ctx context.Context, conn *pgconn.PgConn) error {
	id, err := row(ctx, conn, "IDENTIFY_SYSTEM", 3)
	if err != nil {
		return err
	}
	if id[0] != strconv.FormatUint(r.o.SystemID, 10) {
		return fmt.Errorf("%w: the server's system identifier is %s, the timeline's %d", ErrForeign, id[0], r.o.SystemID)
	}
	major, _, _ := strings.Cut(conn.ParameterStatus("server_version"), ".")
	if v, err := strconv.Atoi(strings.TrimSpace(major)); err != nil || pg.Version(v) != r.o.Version {
		return fmt.Errorf("%w: the server's version is %q, the timeline's %d", ErrForeign, conn.ParameterStatus("server_version"), r.o.Version)
	}
	tli, err := strconv.ParseUint(id[1], 10, 32)
	if err != nil {
		return fmt.Errorf("IDENTIFY_SYSTEM: timeline %q: %w", id[1], err)
	}
	if uint32(tli) < r.tli {
		return fmt.Errorf("%w: the server is on PostgreSQL's timeline %d, we are on %d already: it is not the server that was promoted", ErrForeign, tli, r.tli)
	}
	end, err := page.ParseLSN(id[2])
	if err != nil {
		return fmt.Errorf("IDENTIFY_SYSTEM: %w", err)
	}
	r.pos.server(end)
	if err := r.checkSegSize(ctx, conn); err != nil {
		return err
	}
	return r.fetchHistory(ctx, conn, uint32(tli))
}

// maxHistories bounds the histories that are fetched: one for each promotion between our timeline and the
// server's.
const maxHistories = 1000

// fetchHistory gets the histories of the timelines after the one we began on up to the server's, which a base
// backup gives back. The server may lack those between, which its own history tells of.
func (r *receiver) fetchHistory(ctx context.Context, conn *pgconn.PgConn, to uint32) error {
	if to-r.firstTLI > maxHistories {
		return fmt.Errorf("the server is on PostgreSQL's timeline %d, we are on %d: too far", to, r.tli)
	}
	for tli := r.firstTLI + 1; tli <= to; tli++ {
		if r.histories[tli] != nil {
			continue
		}
		h, err := row(ctx, conn, fmt.Sprintf("TIMELINE_HISTORY %d", tli), 2)
		if pe := (*pgconn.PgError)(nil); errors.As(err, &pe) && pe.Code == codeUndefinedFile && tli < to {
			continue
		}
		if err != nil {
			return err
		}
		r.histories[tli] = []byte(h[1])
	}
	return nil
}

// checkSegSize asks for wal_segment_size, which decides where page headers are.
func (r *receiver) checkSegSize(ctx context.Context, conn *pgconn.PgConn) error {
	v, err := row(ctx, conn, "SHOW wal_segment_size", 1)
	if err != nil {
		return err
	}
	size, err := parseSize(v[0])
	if err != nil {
		return fmt.Errorf("SHOW wal_segment_size: %w", err)
	}
	if size != uint64(r.o.SegSize) {
		return fmt.Errorf("%w: the server's WAL segments have %d bytes, the timeline's %d", ErrForeign, size, r.o.SegSize)
	}
	return nil
}

// parseSize reads a size as SHOW gives it: a number and a unit.
func parseSize(s string) (uint64, error) {
	units := []struct {
		suffix string
		bytes  uint64
	}{{"kB", 1 << 10}, {"MB", 1 << 20}, {"GB", 1 << 30}, {"B", 1}, {"", 1}}
	for _, u := range units {
		if n, ok := strings.CutSuffix(s, u.suffix); ok {
			v, err := strconv.ParseUint(n, 10, 32)
			if err != nil {
				return 0, fmt.Errorf("size %q: %w", s, err)
			}
			return v * u.bytes, nil
		}
	}
	return 0, fmt.Errorf("size %q", s)
}

// SQLSTATEs that matter here (utils/errcodes.txt).
const (
	codeDuplicateObject = "42710"
	codeUndefinedFile   = "58P01"
	codeObjectInUse     = "55006" // the slot, until the server notices that its last user is gone
	codeTooManyConns    = "53300"
	classConnection     = "08"
	classIntervention   = "57" // shutting down, starting up, terminated
)

// readSlotSince is the first version with READ_REPLICATION_SLOT.
const readSlotSince = pg.V15

// makeSlot makes the slot if it is not there. RESERVE_WAL has it keep WAL from now on, not from the first
// message of a client.
func (r *receiver) makeSlot(ctx context.Context, conn *pgconn.PgConn) error {
	if r.slotSeen {
		return nil
	}
	r.slotSeen = true
	if r.o.Version >= readSlotSince {
		// Asked first, as an attempt to make it again would be an error in the server's log.
		slot, err := row(ctx, conn, "READ_REPLICATION_SLOT "+r.o.Slot, 1)
		if err != nil || slot[0] != "" {
			return err
		}
	}
	_, err := conn.Exec(ctx, "CREATE_REPLICATION_SLOT "+r.o.Slot+" PHYSICAL RESERVE_WAL").ReadAll()
	if err == nil {
		r.o.Logger.Info("made the replication slot", "slot", r.o.Slot)
		return nil
	}
	if pe := (*pgconn.PgError)(nil); errors.As(err, &pe) && pe.Code == codeDuplicateObject {
		return nil
	}
	return commandError("make replication slot "+r.o.Slot, err)
}

// retriable reports whether another connection may help: the server or the network failed, not what was
// asked for.
func retriable(err error) bool {
	if errors.Is(err, errStreamEnded) {
		return true
	}
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		return pe.Code == codeObjectInUse || pe.Code == codeTooManyConns ||
			strings.HasPrefix(pe.Code, classConnection) || strings.HasPrefix(pe.Code, classIntervention)
	}
	var ne *netError
	var ce *pgconn.ConnectError
	return errors.As(err, &ne) || errors.As(err, &ce)
}

// unreachable reports whether err means that no server answered at all. Before the first answer the address
// is more likely wrong than the server away.
func unreachable(err error) bool {
	var pe *pgconn.PgError
	var ce *pgconn.ConnectError
	return errors.As(err, &ce) && !errors.As(err, &pe)
}

// commandError names the command that failed. What is not the server's answer is trouble of the connection.
func commandError(command string, err error) error {
	err = fmt.Errorf("%s: %w", command, err)
	if pe := (*pgconn.PgError)(nil); errors.As(err, &pe) {
		return err
	}
	return &netError{err}
}

// netError marks an error of the connection itself.
type netError struct{ err error }

func (e *netError) Error() string { return e.err.Error() }
func (e *netError) Unwrap() error { return e.err }
