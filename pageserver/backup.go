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
	"syscall"
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
	w := bufio.NewWriterSize(copyData{ctx, c}, backupChunk)
	if _, err := tl.BaseBackup(ctx, w, b.o); err != nil {
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
type copyData struct {
	ctx context.Context // of the one command that it serves
	c   *conn
}

func (d copyData) Write(b []byte) (int, error) {
	for part := range slices.Chunk(b, backupChunk) {
		d.c.be.Send(&pgproto3.CopyData{Data: part})
		if err := d.c.flush(); err != nil {
			return 0, connError{err}
		}
	}
	return len(b), nil
}

// ReadFrom sends a file without reading it, where there is no TLS between: the header of each message is written apart, and its
// content goes from the file to the socket within the kernel.
func (d copyData) ReadFrom(r io.Reader) (n int64, err error) {
	file, tcp := wholeFile(r, d.c.nc)
	if file == nil {
		return io.CopyBuffer(writerOnly{d}, r, make([]byte, backupChunk))
	}
	for file.N > 0 {
		if err := d.ctx.Err(); err != nil {
			return n, err
		}
		sent, err := d.sendFile(tcp, file.R, min(file.N, fileChunk))
		n += sent
		file.N -= sent
		if err != nil {
			return n, connError{err}
		}
	}
	return n, nil
}

// writerOnly hides ReadFrom from io.CopyBuffer.
type writerOnly struct{ io.Writer }

// wholeFile tells a file and a socket between which the kernel can copy; nil if they are none.
func wholeFile(r io.Reader, c net.Conn) (*io.LimitedReader, *net.TCPConn) {
	tcp, _ := c.(*net.TCPConn)
	limited, _ := r.(*io.LimitedReader)
	if tcp == nil || limited == nil {
		return nil, nil
	}
	if _, ok := limited.R.(syscall.Conn); !ok {
		return nil, nil
	}
	return limited, tcp
}

// sendFile sends a message whose content is the next length bytes of a file. After an error the client waits for the rest of
// it, and cannot be told anything else.
func (d copyData) sendFile(tcp *net.TCPConn, r io.Reader, length int64) (int64, error) {
	const own = 4 // the length counts itself
	header := [5]byte{'d'}
	binary.BigEndian.PutUint32(header[1:], uint32(own+length))
	_ = tcp.SetWriteDeadline(time.Now().Add(d.c.s.c.Idle))
	if _, err := tcp.Write(header[:]); err != nil {
		return 0, err
	}
	n, err := tcp.ReadFrom(&io.LimitedReader{R: r, N: length})
	d.c.s.metrics.fileBytes.Add(n)
	if err == nil && n < length {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
