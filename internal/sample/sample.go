package sample

import (
	"archive/tar"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// Version is the PostgreSQL that the sample is of.
const Version = pg.V15

// Names in the sample's folder.
const (
	clusterName = "cluster.tar.zst"
	walName     = "wal"
	zstdSuffix  = ".zst"
)

var (
	pagesName   = regexp.MustCompile(`^pages-([0-9A-F]{16})\.zst$`)
	segmentName = regexp.MustCompile(`^([0-9A-F]{24})\.zst$`)
)

// maxUnpacked bounds what one file of the sample may unpack to.
const maxUnpacked = 1 << 30

// Sample is an opened sample. It holds no file open and may be used from many goroutines.
type Sample struct {
	dir      string
	pages    []page.LSN
	segments []string
}

// Open finds what the sample's folder holds.
func Open(dir string) (*Sample, error) {
	s := &Sample{dir: dir}
	if _, err := os.Stat(filepath.Join(dir, clusterName)); err != nil {
		return nil, fmt.Errorf("no sample in %s: run from the repository's root, or make one with make sample: %w", dir, err)
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		if m := pagesName.FindStringSubmatch(n.Name()); m != nil {
			lsn, err := page.ParseLSN(m[1][:8] + "/" + m[1][8:])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", filepath.Join(dir, n.Name()), err)
			}
			s.pages = append(s.pages, lsn)
		}
	}
	names, err = os.ReadDir(filepath.Join(dir, walName))
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		if m := segmentName.FindStringSubmatch(n.Name()); m != nil {
			s.segments = append(s.segments, m[1])
		}
	}
	if len(s.pages) == 0 || len(s.segments) == 0 {
		return nil, fmt.Errorf("the sample in %s has %d files of digests and %d WAL segments: make it anew with make sample",
			dir, len(s.pages), len(s.segments))
	}
	slices.SortFunc(s.pages, func(a, b page.LSN) int { return cmp.Compare(a, b) })
	return s, nil
}

// LSNs lists the positions that there are digests of, ascending: the first is the cluster's own, the last
// the end of the WAL.
func (s *Sample) LSNs() []page.LSN { return slices.Clone(s.pages) }

// PagesName gives the name of the file with the digests at lsn, in the sample's folder.
func PagesName(lsn page.LSN) string { return "pages-" + lsn.Hex() + zstdSuffix }

// Pages reads the digests at one of LSNs.
func (s *Sample) Pages(lsn page.LSN) (*Pages, error) {
	name := filepath.Join(s.dir, PagesName(lsn))
	var p *Pages
	err := unpack(name, func(r io.Reader) (err error) {
		p, err = ReadPages(r)
		if err == nil && p.LSN != lsn {
			err = fmt.Errorf("it is of LSN %s", p.LSN)
		}
		return err
	})
	return p, err
}

// ExtractCluster unpacks the data directory into dir, which must not exist.
func (s *Sample) ExtractCluster(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	return unpack(filepath.Join(s.dir, clusterName), func(r io.Reader) error { return untar(dir, r) })
}

// ExtractWAL unpacks the WAL segments into dir, which must not exist.
func (s *Sample) ExtractWAL(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	for _, n := range s.segments {
		err := unpack(filepath.Join(s.dir, walName, n+zstdSuffix), func(r io.Reader) error {
			return writeFile(filepath.Join(dir, n), r)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// unpack decompresses a file; errors name it.
func unpack(name string, fn func(io.Reader) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	d, err := zstd.NewReader(f, zstd.WithDecoderMaxWindow(maxUnpacked), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer d.Close()
	if err := fn(io.LimitReader(d, maxUnpacked)); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// untar unpacks folders and regular files; a data directory without tablespaces has nothing else.
func untar(dir string, r io.Reader) error {
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !filepath.IsLocal(h.Name) {
			return fmt.Errorf("the name %q leads out of the directory", h.Name)
		}
		name := filepath.Join(dir, h.Name)
		switch h.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(name, 0o700)
		case tar.TypeReg:
			err = writeFile(name, tr)
		default:
			err = fmt.Errorf("%q is neither folder nor file", h.Name)
		}
		if err != nil {
			return err
		}
	}
}

func writeFile(name string, r io.Reader) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}
