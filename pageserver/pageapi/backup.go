package pageapi

import (
	"bufio"
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/basebackup"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pageserver/answer"
	"github.com/stratapg/strata/pageserver/pageapi/pb"
	"github.com/stratapg/strata/pageserver/tally"
)

// backupOptions understands a request.
func backupOptions(r *pb.GetBaseBackupRequest) (o strata.BaseBackupOptions, err error) {
	o = strata.BaseBackupOptions{LSN: page.LSN(r.Lsn), Format: strata.BackupCompute, Replica: r.Replica}
	if r.Full {
		o.Format = strata.BackupFull
	}
	if r.Full && r.Replica {
		return o, status.Error(codes.InvalidArgument, "a full backup is not one for a replica")
	}
	switch r.Compression {
	case pb.BaseBackupCompression_BASE_BACKUP_COMPRESSION_NONE:
	case pb.BaseBackupCompression_BASE_BACKUP_COMPRESSION_GZIP:
		o.Compression.Algorithm = basebackup.Gzip
	default:
		return o, status.Errorf(codes.InvalidArgument, "compression %d is not known", r.Compression)
	}
	return o, nil
}

// backupChunk is what a message of a backup holds.
const backupChunk = 256 << 10

// GetBaseBackup implements the service.
func (s *Server) GetBaseBackup(r *pb.GetBaseBackupRequest, g grpc.ServerStreamingServer[pb.GetBaseBackupResponseChunk]) error {
	call := g.Context()
	src, _, err := s.findFirst(call)
	if err != nil {
		return err
	}
	to := s.sender(g)
	done := s.metrics.begin(tally.BaseBackup)
	ctx, cancel := s.until(call)
	defer cancel()
	err = s.backup(ctx, src, r, chunks{ctx, to})
	if err == nil {
		err = to.wait()
	}
	done(err != nil)
	return s.status(call, err)
}

func (s *Server) backup(ctx context.Context, src *answer.Shards, r *pb.GetBaseBackupRequest, to chunks) error {
	o, err := backupOptions(r)
	if err != nil {
		return err
	}
	if o.LSN > 0 {
		if err := src.Wait(ctx, o.LSN); err != nil {
			return err
		}
	}
	w := bufio.NewWriterSize(to, backupChunk)
	if _, err := src.BaseBackup(ctx, w, o); err != nil {
		return err
	}
	return w.Flush()
}

// chunks sends what is written as messages of a backup.
type chunks struct {
	ctx context.Context // of the backup's one Write after another
	to  *sender
}

// Write implements io.Writer.
func (c chunks) Write(b []byte) (int, error) {
	for part := range slices.Chunk(b, backupChunk) {
		if err := c.to.wait(); err != nil { // nobody has memory while he waits for some
			return 0, err
		}
		held, err := c.to.s.memory.Take(c.ctx, int64(len(part)))
		if err != nil {
			return 0, err
		}
		if err := c.to.send(&pb.GetBaseBackupResponseChunk{Chunk: part}, &held); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}
