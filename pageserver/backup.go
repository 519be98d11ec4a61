package pageserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"

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

// backupChunk is what a message of a backup holds.
const backupChunk = 256 << 10

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
