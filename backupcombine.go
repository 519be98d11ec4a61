package strata

import (
	"context"
	"io"

	"github.com/stratapg/strata/basebackup"
)

// BackupArchive is a backup that was made without compression, open for reading: an os.File, for one.
type BackupArchive = basebackup.TarFile

// CombineOptions say how to combine backups.
type CombineOptions struct {
	// Progress, if set, is called now and then, from the goroutine that called CombineBackups.
	Progress func(BaseBackupProgress)
}

// CombineBackups writes what a full backup with a manifest and the incremental ones that follow it, in that order, come to: byte
// for byte the full backup of the last one's LSN, which others can follow. It needs no store. An error wraps ErrBackupChain where the
// archives are no such chain.
func CombineBackups(ctx context.Context, w io.Writer, chain []BackupArchive, o CombineOptions) (BaseBackupResult, error) {
	var co basebackup.CombineOptions
	if o.Progress != nil {
		co.Progress = func(p basebackup.Progress) {
			o.Progress(BaseBackupProgress{Files: p.Files, Bytes: p.Bytes, TotalBytes: p.Total})
		}
	}
	r, err := basebackup.Combine(ctx, w, chain, co)
	return BaseBackupResult{LSN: r.LSN, Files: r.Files, Bytes: r.Bytes}, err
}

// ErrBackupChain says that archives are no full backup with the incremental ones that follow it.
var ErrBackupChain = basebackup.ErrChain
