package main

import (
	"fmt"

	"github.com/spf13/pflag"

	strata "github.com/stratapg/strata"
)

// cacheFlags say which base backups serve keeps.
type cacheFlags struct {
	dir     string
	entries int
	bytes   sizeValue
	kinds   []string
}

func (f *cacheFlags) register(fs *pflag.FlagSet) {
	f.bytes = 1 << 30
	fs.StringVar(&f.dir, "basebackup-cache-dir", "", "folder to keep base backups of stopped clusters in, made before the next compute asks; none without")
	fs.IntVar(&f.entries, "basebackup-cache-entries", 10_000, "how many base backups are kept")
	fs.Var(&f.bytes, "basebackup-cache-bytes", "how long their files may be together")
	fs.StringSliceVar(&f.kinds, "basebackup-cache-kinds", []string{"compute+gzip"}, "which: compute or full, with +gzip, +zstd, +replica, +no-slrus behind")
}

func (f *cacheFlags) options() (o strata.BackupCacheOptions, err error) {
	o = strata.BackupCacheOptions{Dir: f.dir, Entries: f.entries, Bytes: int64(f.bytes)}
	for _, s := range f.kinds {
		k, err := strata.ParseBackupKind(s)
		if err != nil {
			return o, usageError{fmt.Errorf("serve: --basebackup-cache-kinds: %w", err)}
		}
		o.Kinds = append(o.Kinds, k)
	}
	return o, nil
}
