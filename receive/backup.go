package receive

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// BackupOptions say which server to take a base backup of.
type BackupOptions struct {
	// ConnInfo is a libpq connection string or URL. The user must be allowed to replicate.
	ConnInfo string
	// Slot, if not empty, is a physical replication slot that is made, or used, so that the server keeps its WAL
	// from the backup on. Without it a temporary slot does for the time of the backup.
	Slot string
	// Label is what the server calls the backup; default "strata".
	Label string
	// Archive takes one of the backup's tars, in which there is all that the server has of a tablespace, and the WAL of
	// the backup. oid is "" for the data directory's own. It must read r to its end.
	Archive func(ctx context.Context, oid string, r io.Reader) error
	// Progress, if set, is called now and then with the bytes received and what the server expects to send.
	Progress func(done, total int64)
}

// BackupResult is what the server said of its backup.
type BackupResult struct {
	// Start is the REDO point at which the backup begins, End where its files agree with each other.
	Start, End page.LSN
	Timeline   uint32
}

// BaseBackup takes a base backup of a running server, whole, with the WAL that it needs. It is one connection: what
// breaks it breaks the backup.
func BaseBackup(ctx context.Context, o BackupOptions) (BackupResult, error) {
	if o.Slot != "" {
		if err := checkSlotName(o.Slot); err != nil {
			return BackupResult{}, err
		}
	}
	conn, err := connect(ctx, o.ConnInfo)
	if err != nil {
		return BackupResult{}, err
	}
	defer func() {
		cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		_ = conn.Close(cctx) // all that matters came before
	}()
	major, _, _ := strings.Cut(conn.ParameterStatus("server_version"), ".")
	v, err := strconv.Atoi(strings.TrimSpace(major))
	if err != nil || !pg.Version(v).Supported() {
		return BackupResult{}, fmt.Errorf("base backup of a server of version %q: %w", conn.ParameterStatus("server_version"), pg.ErrUnsupportedVersion)
	}
	if err := backupSlot(ctx, conn, o.Slot); err != nil {
		return BackupResult{}, err
	}
	b := &backup{conn: conn, o: o, version: pg.Version(v)}
	r, err := b.run(ctx)
	if err != nil {
		return r, fmt.Errorf("base backup: %w", err)
	}
	return r, nil
}

// backupSlot has the server keep its WAL.
func backupSlot(ctx context.Context, conn *pgconn.PgConn, name string) error {
	how := "PHYSICAL RESERVE_WAL"
	if name == "" {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails
		name, how = "strata_import_"+hex.EncodeToString(b[:]), "TEMPORARY PHYSICAL RESERVE_WAL"
	}
	_, err := conn.Exec(ctx, "CREATE_REPLICATION_SLOT "+name+" "+how).ReadAll()
	if pe := (*pgconn.PgError)(nil); errors.As(err, &pe) && pe.Code == codeDuplicateObject {
		return nil
	}
	if err != nil {
		return commandError("make replication slot "+name, err)
	}
	return nil
}

// backup is one at work.
type backup struct {
	conn    *pgconn.PgConn
	o       BackupOptions
	version pg.Version
	done    int64
	total   int64
	rows    [][][]byte // of the result in hand
}

// newBackupSince is the first version that sends all archives in one copy, with options in parentheses.
const newBackupSince = pg.V15

// command asks for everything: a checkpoint at once, the WAL of the backup, the map of tablespaces, no manifest.
func (b *backup) command() string {
	label := b.o.Label
	if label == "" {
		label = applicationName
	}
	label = "'" + strings.ReplaceAll(label, "'", "''") + "'"
	if b.version >= newBackupSince {
		return "BASE_BACKUP ( LABEL " + label + ", PROGRESS, CHECKPOINT 'fast', WAL, WAIT false, TABLESPACE_MAP, MANIFEST 'no' )"
	}
	return "BASE_BACKUP LABEL " + label + " PROGRESS FAST WAL NOWAIT TABLESPACE_MAP MANIFEST 'no'"
}

func (b *backup) run(ctx context.Context) (r BackupResult, err error) {
	b.conn.Frontend().Send(&pgproto3.Query{String: b.command()})
	if err := b.conn.Frontend().Flush(); err != nil {
		return r, err
	}
	if r.Start, r.Timeline, err = b.position(ctx); err != nil {
		return r, err
	}
	if err := b.result(ctx); err != nil {
		return r, err
	}
	spaces := b.rows
	for _, s := range spaces {
		if len(s) > 2 {
			kib, _ := strconv.ParseInt(string(s[2]), 10, 64) // an estimate
			b.total += kib << 10
		}
	}
	if b.version >= newBackupSince {
		err = b.archives(ctx)
	} else {
		for _, s := range spaces {
			if err == nil {
				err = b.oldArchive(ctx, string(s[0]))
			}
		}
	}
	if err != nil {
		return r, err
	}
	r.End, _, err = b.position(ctx)
	if err != nil {
		return r, err
	}
	return r, b.ready(ctx)
}

// receive gives the next message that means something.
func (b *backup) receive(ctx context.Context) (pgproto3.BackendMessage, error) {
	for {
		m, err := b.conn.ReceiveMessage(ctx)
		if err != nil {
			return nil, err
		}
		switch m := m.(type) {
		case *pgproto3.ErrorResponse:
			return nil, pgconn.ErrorResponseToPgError(m)
		case *pgproto3.NoticeResponse, *pgproto3.ParameterStatus:
			continue
		}
		return m, nil
	}
}

// maxRows bounds the rows of one result: a row per tablespace.
const maxRows = 1 << 20

// result reads a set of rows, up to the end of its command.
func (b *backup) result(ctx context.Context) error {
	b.rows = nil
	for {
		m, err := b.receive(ctx)
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *pgproto3.RowDescription:
		case *pgproto3.DataRow:
			if len(b.rows) >= maxRows {
				return fmt.Errorf("the server lists over %d tablespaces", maxRows)
			}
			row := make([][]byte, len(m.Values))
			for i, v := range m.Values {
				row[i] = append([]byte(nil), v...) // the message's memory is used again
			}
			b.rows = append(b.rows, row)
		case *pgproto3.CommandComplete:
			return nil
		default:
			return fmt.Errorf("unexpected message %T", m)
		}
	}
}

// position reads an LSN and a timeline.
func (b *backup) position(ctx context.Context) (lsn page.LSN, tli uint32, err error) {
	if err := b.result(ctx); err != nil {
		return 0, 0, err
	}
	if len(b.rows) != 1 || len(b.rows[0]) < 2 {
		return 0, 0, errors.New("the server did not say where the backup begins or ends")
	}
	if lsn, err = page.ParseLSN(string(b.rows[0][0])); err != nil {
		return 0, 0, err
	}
	n, err := strconv.ParseUint(string(b.rows[0][1]), 10, 32)
	return lsn, uint32(n), err
}

// ready reads up to the end of the command.
func (b *backup) ready(ctx context.Context) error {
	for {
		m, err := b.receive(ctx)
		if err != nil {
			return err
		}
		if _, ok := m.(*pgproto3.ReadyForQuery); ok {
			return nil
		}
	}
}

// copyStart reads the start of a copy.
func (b *backup) copyStart(ctx context.Context) error {
	m, err := b.receive(ctx)
	if err != nil {
		return err
	}
	if _, ok := m.(*pgproto3.CopyOutResponse); !ok {
		return fmt.Errorf("unexpected message %T in place of an archive", m)
	}
	return nil
}

// oldArchive hands on one archive as 14 sends it: a copy of its own.
func (b *backup) oldArchive(ctx context.Context, oid string) error {
	if err := b.copyStart(ctx); err != nil {
		return err
	}
	r := &archiveReader{b: b, ctx: ctx, next: func() ([]byte, error) {
		m, err := b.receive(ctx)
		if err != nil {
			return nil, err
		}
		switch m := m.(type) {
		case *pgproto3.CopyData:
			return m.Data, nil
		case *pgproto3.CopyDone:
			return nil, io.EOF
		}
		return nil, fmt.Errorf("unexpected message %T within an archive", m)
	}}
	return r.handOn(oid)
}

// Messages within the one copy of 15 and later: a byte, then
//
//	'n' new archive     name, path of the tablespace, each up to a zero byte
//	'd' data
//	'p' progress        bytes so far, i64
//	'm' manifest        follows
const (
	msgArchive  = 'n'
	msgData     = 'd'
	msgProgress = 'p'
)

// archives hands on all archives.
func (b *backup) archives(ctx context.Context) error {
	if err := b.copyStart(ctx); err != nil {
		return err
	}
	name, err := b.untilArchive(ctx)
	for err == nil {
		oid, ok := strings.CutSuffix(name, ".tar")
		if !ok || oid == "" {
			return fmt.Errorf("the server sends an archive %.40q", name)
		}
		if oid == "base" {
			oid = ""
		}
		var next string
		ended := false
		r := &archiveReader{b: b, ctx: ctx, next: func() ([]byte, error) {
			data, name, err := b.message(ctx)
			switch {
			case err == nil && name != "":
				next = name
				return nil, io.EOF
			case errors.Is(err, io.EOF):
				ended = true
			}
			return data, err
		}}
		if err := r.handOn(oid); err != nil {
			return err
		}
		if name = next; ended {
			return nil
		}
	}
	if errors.Is(err, io.EOF) {
		return errors.New("the server sent no archive")
	}
	return err
}

// untilArchive skips what comes before the first archive.
func (b *backup) untilArchive(ctx context.Context) (string, error) {
	for {
		data, name, err := b.message(ctx)
		if err != nil || name != "" {
			return name, err
		}
		if len(data) > 0 {
			return "", errors.New("the server sends data before an archive")
		}
	}
}

// message gives data, or the name of the archive that begins; io.EOF at the end of the copy.
func (b *backup) message(ctx context.Context) (data []byte, archive string, err error) {
	m, err := b.receive(ctx)
	if err != nil {
		return nil, "", err
	}
	switch m := m.(type) {
	case *pgproto3.CopyDone:
		return nil, "", io.EOF
	case *pgproto3.CopyData:
		if len(m.Data) == 0 {
			return nil, "", errors.New("the server sent an empty message")
		}
		switch body := m.Data[1:]; m.Data[0] {
		case msgArchive:
			name, _, _ := strings.Cut(string(body), "\x00")
			return nil, name, nil
		case msgData:
			return body, "", nil
		case msgProgress:
			return nil, "", nil
		}
		return nil, "", fmt.Errorf("the server sent a message of type %q", m.Data[0])
	}
	return nil, "", fmt.Errorf("unexpected message %T within an archive", m)
}

// archiveReader is an archive as it comes.
type archiveReader struct {
	b    *backup
	ctx  context.Context
	next func() ([]byte, error) // more of it, valid until the next call; io.EOF at its end
	left []byte
	err  error
}

func (r *archiveReader) Read(p []byte) (int, error) {
	for len(r.left) == 0 {
		if r.err == nil {
			r.left, r.err = r.next()
		}
		if r.err != nil {
			return 0, r.err
		}
		if b := r.b; b.o.Progress != nil && len(r.left) > 0 {
			b.done += int64(len(r.left))
			b.o.Progress(b.done, b.total)
		}
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

// handOn gives the archive to the caller, and makes sure that all of it was read.
func (r *archiveReader) handOn(oid string) error {
	if err := r.b.o.Archive(r.ctx, oid, r); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, r)
	return err
}
