package pageserver

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/basebackup"
	"github.com/stratapg/strata/page"
)

// backupCommand sends a cluster as a tar.
type backupCommand struct {
	place
	o strata.BaseBackupOptions
}

// parseFullBackup understands fullbackup TENANT TIMELINE [LSN]: all of a cluster, for a stock server.
func parseFullBackup(words []string) (command, error) {
	p, rest, err := parsePlace(words)
	b := backupCommand{place: p}
	if err == nil && len(rest) > 0 {
		b.o.LSN, err = page.ParseLSN(rest[0])
	}
	if err == nil && len(rest) > 1 {
		err = errors.New("the LSN before the backup's is found by the server; leave it out")
	}
	return b, err
}

// parseBaseBackup understands basebackup TENANT TIMELINE [LSN|latest] [--gzip] [--replica]: what a Neon compute starts from.
// The flags may stand in any order behind the LSN.
func parseBaseBackup(words []string) (command, error) {
	p, rest, err := parsePlace(words)
	b := backupCommand{place: p, o: strata.BaseBackupOptions{Format: strata.BackupCompute}}
	if err != nil {
		return b, err
	}
	if len(rest) > 0 && rest[0] != "latest" && rest[0][0] != '-' {
		if b.o.LSN, err = page.ParseLSN(rest[0]); err != nil {
			return b, err
		}
	}
	if len(rest) > 0 && rest[0][0] != '-' {
		rest = rest[1:]
	}
	for i, flag := range rest {
		if slices.Contains(rest[:i], flag) {
			return b, fmt.Errorf("%s is given twice", flag)
		}
		switch flag {
		case "--gzip":
			b.o.Compression.Algorithm = basebackup.Gzip
		case "--replica":
			b.o.Replica = true
		default:
			return b, fmt.Errorf("%q is no flag: there are --gzip and --replica", flag)
		}
	}
	return b, nil
}

func (b backupCommand) run(ctx context.Context, c *conn) error {
	tl, err := c.find(ctx, b.place)
	if err != nil {
		return err
	}
	if b.o.LSN > 0 {
		if err := c.wait(ctx, tl, b.o.LSN); err != nil {
			return err
		}
	}
	c.be.Send(&pgproto3.CopyOutResponse{})
	if err := c.flush(); err != nil {
		return connError{err}
	}
	w := bufio.NewWriterSize(copyData{c}, backupChunk)
	if _, err := tl.BaseBackup(ctx, c.backupWriter(w), b.o); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	c.be.Send(&pgproto3.CopyDone{})
	c.selectOne()
	return nil
}

// backupChunk is what a message of a backup holds, and fileChunk one whose content comes from a file: a client needs room for
// a whole one.
const (
	backupChunk = 256 << 10
	fileChunk   = 512 << 10
)

// copyData sends what is written as messages of a copy.
type copyData struct{ c *conn }

func (d copyData) Write(b []byte) (int, error) {
	for part := range slices.Chunk(b, backupChunk) {
		d.c.be.Send(&pgproto3.CopyData{Data: part})
		if err := d.c.flush(); err != nil {
			return 0, connError{err}
		}
	}
	return len(b), nil
}

// backupWriter gives what a backup is written to: w, or one that can send files, too, where there is no TLS between.
func (c *conn) backupWriter(w *bufio.Writer) io.Writer {
	if tcp, ok := c.nc.(*net.TCPConn); ok {
		return fileSender{w, c, tcp}
	}
	return w
}

// fileSender sends a file without reading it: the header of each message is written apart, and its content goes from the file to the socket
// within the kernel. What waits in the sockets then are the file's own pages, until the client reads them. The end of the file is
// copied, as much as the sockets can hold: once it is in them, the client has read what went before it, and nothing
// depends on the file any more.
type fileSender struct {
	*bufio.Writer
	c   *conn
	tcp *net.TCPConn
}

var _ strata.BackupSender = fileSender{}

// SendFile sends a file.
func (s fileSender) SendFile(ctx context.Context, f *strata.BackupFile) (n int64, err error) {
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := s.Flush(); err != nil {
		return 0, err
	}
	for own := f.Size() - s.c.s.socketRoom; n < own && err == nil; {
		if err = held(ctx, f); err == nil {
			var sent int64
			sent, err = s.message(f.Reader(), min(own-n, fileChunk))
			n += sent
		}
	}
	b := make([]byte, backupChunk)
	for n < f.Size() && err == nil {
		part := b[:min(f.Size()-n, backupChunk)]
		if _, err = io.ReadFull(f.Reader(), part); err == nil {
			err = held(ctx, f)
		}
		if err == nil {
			_, err = s.Write(part)
			n += int64(len(part))
		}
	}
	if err == nil {
		err = s.Flush()
	}
	if err == nil {
		err = held(ctx, f) // until all that was not copied was read
	}
	return n, err
}

// held says why a file is not to be sent any more.
func held(ctx context.Context, f *strata.BackupFile) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return f.Held()
}

// message sends a message whose content is the next length bytes of a file. After an error the client waits for the rest of
// it, and cannot be told anything else.
func (s fileSender) message(r io.Reader, length int64) (int64, error) {
	const own = 4 // the length counts itself
	header := [5]byte{'d'}
	binary.BigEndian.PutUint32(header[1:], uint32(own+length))
	_ = s.tcp.SetWriteDeadline(time.Now().Add(s.c.s.c.Idle))
	if _, err := s.tcp.Write(header[:]); err != nil {
		return 0, connError{err}
	}
	n, err := s.tcp.ReadFrom(&io.LimitedReader{R: r, N: length})
	s.c.s.metrics.fileBytes.Add(n)
	if err == nil && n < length {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return n, connError{err}
	}
	return n, nil
}
