package testkit

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// account is the user that servers run as. The zero value is the user of the test.
type account struct {
	name     string
	uid, gid int
	switched bool
}

// serverAccount finds the user to run servers as: nobody but root needs another.
func serverAccount(t testing.TB) account {
	t.Helper()
	if os.Geteuid() != 0 {
		return account{}
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err1 == nil && err2 == nil {
			return account{name: name, uid: uid, gid: gid, switched: true}
		}
	}
	t.Fatal("run as root, and there is neither a user postgres nor nobody to run servers as")
	return account{}
}

// ServerDir makes an empty directory that servers may use, readable by the test too. It is removed at the
// end of the test. Its path is short, for a socket's path may have 107 bytes only.
func ServerDir(t testing.TB) string {
	t.Helper()
	parent := os.TempDir()
	const longestParent = 60
	if len(parent) > longestParent {
		parent = "/tmp"
	}
	dir, err := os.MkdirTemp(parent, "strata-pg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() && os.Getenv("STRATA_KEEP") != "" {
			t.Logf("kept: %s", dir)
			return
		}
		_ = os.RemoveAll(dir)
	})
	Give(t, dir)
	return dir
}

// Give makes a tree the property of the user that servers run as. It does nothing for tests not run as root.
func Give(t testing.TB, dir string) {
	t.Helper()
	a := serverAccount(t)
	if !a.switched {
		return
	}
	err := filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(name, a.uid, a.gid)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// CopyTree copies a data directory: files, folders and symbolic links, with their modes. dst must not
// exist. Files that vanish meanwhile are left out, as a running server removes some.
func CopyTree(t testing.TB, dst, src string) {
	t.Helper()
	err := filepath.WalkDir(src, func(name string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(src, name)
		if err != nil {
			return err
		}
		err = copyEntry(filepath.Join(dst, rel), name, e)
		if errors.Is(err, fs.ErrNotExist) && rel != "." {
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func copyEntry(dst, src string, e fs.DirEntry) error {
	info, err := e.Info()
	if err != nil {
		return err
	}
	switch {
	case e.IsDir():
		return os.Mkdir(dst, info.Mode().Perm())
	case e.Type() == fs.ModeSymlink:
		to, err := os.Readlink(src)
		if err != nil {
			return err
		}
		return os.Symlink(to, dst)
	case e.Type().IsRegular():
		return CopyFile(dst, src)
	}
	return nil // sockets and the like are no part of a data directory
}

// CopyFile copies one regular file with its mode; dst must not exist.
func CopyFile(dst, src string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// Untar unpacks a tar stream into dir, which is made. Names that lead out of dir end the test.
func Untar(t testing.TB, dir string, r io.Reader) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err == nil {
			err = untarEntry(dir, h, tr)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func untarEntry(dir string, h *tar.Header, r io.Reader) error {
	name := strings.TrimPrefix(h.Name, "./")
	if name == "" {
		return nil
	}
	if !filepath.IsLocal(name) {
		return errors.New("tar: the name " + h.Name + " leads out of the directory")
	}
	name = filepath.Join(dir, name)
	switch h.Typeflag {
	case tar.TypeDir:
		return os.MkdirAll(name, 0o700)
	case tar.TypeSymlink:
		return os.Symlink(h.Linkname, name)
	case tar.TypeReg:
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return err
		}
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, r)
		return errors.Join(err, f.Close())
	}
	return nil
}

// UntarFixture unpacks a fixture whose name ends in .tar.zst into dir.
func UntarFixture(t testing.TB, dir, rel string) {
	t.Helper()
	f, err := os.Open(Fixture(t, rel))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d, err := zstd.NewReader(f, zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	Untar(t, dir, d)
}
