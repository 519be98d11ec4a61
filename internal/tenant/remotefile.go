package tenant

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

const (
	remoteFileName = "REMOTE"
	remoteMagic    = "strata remote"
	tenantFileName = "TENANT"
	tenantMagic    = "strata tenant"
	maxRemoteURL   = 4 << 10
)

// ErrNoRemote says that a store keeps layers in remote storage, and was opened without it.
var ErrNoRemote = errors.New("the store has remote storage, and was opened without")

// ErrWithoutRemote says that something needs remote storage, and that the store has none.
var ErrWithoutRemote = errors.New("the store has no remote storage")

// RemoteURL gives the place of the remote storage that a store has recorded; empty if it has none, or one without a
// name. ok says that it has one.
//
//	strata remote
//	url file:///srv/pages
//	crc32c 89abcdef
func RemoteURL(fsys virtualfile.FS, dir string) (url string, ok bool, err error) {
	path := filepath.Join(dir, remoteFileName)
	b, err := virtualfile.ReadFile(fsys, path, maxStoreFileSize)
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	lines, err := openText(b, remoteMagic, "url")
	if err != nil {
		return "", false, fmt.Errorf("%s: %w", path, err)
	}
	return lines[0], true, nil
}

// noteRemote records where a store's remote storage is.
func (s *Store) noteRemote(o *Options) error {
	url, has, err := RemoteURL(s.fs, s.dir)
	if err != nil {
		return err
	}
	if o.Config.Remote == nil {
		if has {
			return fmt.Errorf("%w: it is at %q", ErrNoRemote, url)
		}
		return nil
	}
	if o.Config.ReadOnly || has && (o.RemoteURL == "" || o.RemoteURL == url) {
		return nil
	}
	if len(o.RemoteURL) > maxRemoteURL || strings.ContainsAny(o.RemoteURL, "\r\n") {
		return fmt.Errorf("the place of a remote storage is one line of at most %d bytes, not %.40q", maxRemoteURL, o.RemoteURL)
	}
	return virtualfile.WriteFileAtomic(s.fs, filepath.Join(s.dir, remoteFileName), sealText(remoteMagic+"\nurl "+o.RemoteURL+"\n"))
}

// readGeneration reads which generation a tenant's writer here has; ok is false if it was never given one.
//
//	strata tenant
//	generation 3
//	crc32c 89abcdef
func (s *Store) readGeneration(id page.TenantShardID) (generation uint32, ok bool, err error) {
	path := filepath.Join(s.tenantDir(id), tenantFileName)
	b, err := virtualfile.ReadFile(s.fs, path, maxStoreFileSize)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	lines, err := openText(b, tenantMagic, "generation")
	if err != nil {
		return 0, false, fmt.Errorf("%s: %w", path, err)
	}
	g, err := strconv.ParseUint(lines[0], 10, 32)
	if err != nil || g == 0 {
		return 0, false, fmt.Errorf("%s: %w: generation %.20q", path, ErrCorruptStoreFile, lines[0])
	}
	return uint32(g), true, nil
}

func (s *Store) writeGeneration(id page.TenantShardID, generation uint32) error {
	text := fmt.Sprintf("%s\ngeneration %d\n", tenantMagic, generation)
	return virtualfile.WriteFileAtomic(s.fs, filepath.Join(s.tenantDir(id), tenantFileName), sealText(text))
}
