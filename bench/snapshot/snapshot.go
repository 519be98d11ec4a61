package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/virtualfile"
)

// Version is that of snapshot.json; a snapshot of another one is refused.
const Version = 1

// ErrOther says that a snapshot is not what is wanted, or not what it was.
var ErrOther = errors.New("another snapshot")

// Info is what snapshot.json says.
type Info struct {
	Version int `json:"version"`
	// Format is that of the store: the version of its file, and the features that a program has to know.
	Format string `json:"format"`
	// Workload, Seed and Options say what was prepared.
	Workload string            `json:"workload"`
	Seed     uint64            `json:"seed"`
	Options  map[string]string `json:"options"`
	// Files are those of the store, in order. Digest is over the names and digests of layers among them: who prepares the same
	// with the same seed has the same.
	Files  []File `json:"files"`
	Digest string `json:"digest"`
}

// File is one of a store.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Method is how files are copied.
type Method string

// Ways to copy. Auto takes the first of the others that the file system can.
const (
	Auto    Method = "auto"
	Reflink Method = "reflink"
	Link    Method = "link"
	Copy    Method = "copy"
)

const (
	infoName  = "snapshot.json"
	storeName = "store"
)

// Create has fill prepare a store, and keeps it as the folder dir, which must not be there.
func Create(ctx context.Context, dir string, i Info, fill func(ctx context.Context, store string) error) (_ Info, err error) {
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return i, fmt.Errorf("snapshot %s: %w", dir, errors.Join(err, fs.ErrExist))
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return i, err
	}
	half, err := os.MkdirTemp(filepath.Dir(dir), filepath.Base(dir)+".*.half")
	if err != nil {
		return i, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("snapshot %s: %w", dir, errors.Join(err, os.RemoveAll(half)))
		}
	}()
	store := filepath.Join(half, storeName)
	if err := fill(ctx, store); err != nil {
		return i, err
	}
	i.Version = Version
	if i.Format, err = formatOf(ctx, strata.Options{Dir: store, ReadOnly: true}); err != nil {
		return i, err
	}
	if i.Files, i.Digest, err = digest(ctx, store, true); err != nil {
		return i, err
	}
	text, err := json.MarshalIndent(i, "", "  ")
	if err != nil {
		return i, err
	}
	if err := writeSynced(filepath.Join(half, infoName), text); err != nil {
		return i, err
	}
	if err := os.Rename(half, dir); err != nil {
		return i, err
	}
	return i, syncDir(filepath.Dir(dir))
}

// formatOf opens a store and gives its format.
func formatOf(ctx context.Context, o strata.Options) (string, error) {
	e, err := strata.Open(ctx, o)
	if err != nil {
		return "", err
	}
	f := e.Info()
	return fmt.Sprintf("%d %s", f.FormatVersion, strings.Join(f.Incompatible, ",")), e.Close()
}

// CurrentFormat is that of stores which this program makes.
func CurrentFormat(ctx context.Context) (string, error) {
	return formatOf(ctx, strata.Options{Dir: "/store", FS: virtualfile.NewMem(), CreateIfMissing: true})
}

// Read gives what a snapshot says of itself.
func Read(dir string) (i Info, err error) {
	text, err := os.ReadFile(filepath.Join(dir, infoName))
	if err != nil {
		return i, fmt.Errorf("snapshot %s: %w", dir, err)
	}
	if err := json.Unmarshal(text, &i); err != nil {
		return i, fmt.Errorf("snapshot %s: %s: %w", dir, infoName, err)
	}
	if i.Version != Version {
		return i, fmt.Errorf("snapshot %s: %s has version %d, not %d: make it anew: %w", dir, infoName, i.Version, Version, ErrOther)
	}
	return i, nil
}

// UseOptions say how a snapshot is used.
type UseOptions struct {
	// Digest, if set, is the one wanted.
	Digest string
	// Method is how files are copied; default Auto.
	Method Method
	// Trust leaves out that all bytes are read and compared with the digest: names and sizes still are.
	Trust bool
}

// Use makes the folder to a copy of a snapshot's store, and says how. It refuses a snapshot of another format than this program's, of another digest
// than the one wanted, and one whose files are not those that were kept.
func Use(ctx context.Context, dir, to string, o UseOptions) (i Info, how Method, err error) {
	if i, err = Read(dir); err != nil {
		return i, "", err
	}
	if err := i.check(ctx, dir, o); err != nil {
		return i, "", fmt.Errorf("snapshot %s: %w", dir, err)
	}
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		return i, "", fmt.Errorf("store %s: %w", to, errors.Join(err, fs.ErrExist))
	}
	half := to + ".half"
	if err := os.RemoveAll(half); err != nil {
		return i, "", err
	}
	if how, err = copyAll(ctx, filepath.Join(dir, storeName), half, i.Files, o.Method); err == nil {
		err = os.Rename(half, to)
	}
	if err != nil {
		return i, "", fmt.Errorf("store %s: %w", to, errors.Join(err, os.RemoveAll(half)))
	}
	return i, how, nil
}

func (i *Info) check(ctx context.Context, dir string, o UseOptions) error {
	if o.Digest != "" && o.Digest != i.Digest {
		return fmt.Errorf("its digest is %s, and %s is wanted: %w", i.Digest, o.Digest, ErrOther)
	}
	format, err := CurrentFormat(ctx)
	if err != nil {
		return err
	}
	if i.Format != format {
		return fmt.Errorf("its store has format %q, and this program makes %q: make it anew: %w", i.Format, format, ErrOther)
	}
	files, sum, err := digest(ctx, filepath.Join(dir, storeName), !o.Trust)
	if err != nil {
		return err
	}
	if len(files) != len(i.Files) {
		return fmt.Errorf("it has %d files, not %d: %w", len(files), len(i.Files), ErrOther)
	}
	for n, f := range i.Files {
		if files[n].Name != f.Name || files[n].Size != f.Size || !o.Trust && files[n].SHA256 != f.SHA256 {
			return fmt.Errorf("file %s is not what it was: %w", files[n].Name, ErrOther)
		}
	}
	if !o.Trust && sum != i.Digest {
		return fmt.Errorf("%s says digest %s of files of digest %s: %w", infoName, i.Digest, sum, ErrOther)
	}
	return nil
}

// passing are files of an open store that a copy does without.
var passing = []string{"LOCK", "RESERVE"}

// digest lists the files of a store and, if whole, reads them.
func digest(ctx context.Context, store string, whole bool) (files []File, sum string, err error) {
	err = filepath.WalkDir(store, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || slices.Contains(passing, d.Name()) {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if !d.Type().IsRegular() {
			return fmt.Errorf("%s is no file", name)
		}
		f := File{}
		if f.Name, err = filepath.Rel(store, name); err == nil {
			f.Size, f.SHA256, err = sumOf(name, whole)
		}
		files = append(files, f)
		return err
	})
	all := sha256.New()
	for _, f := range files {
		if !unchanging(f.Name) {
			continue
		}
		fmt.Fprintf(all, "%s %d %s\n", f.Name, f.Size, f.SHA256)
	}
	return files, hex.EncodeToString(all.Sum(nil)), err
}

func sumOf(name string, whole bool) (int64, string, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	if !whole {
		i, err := f.Stat()
		if err != nil {
			return 0, "", err
		}
		return i.Size(), "", nil
	}
	h := sha256.New()
	n, err := io.Copy(h, f)
	return n, hex.EncodeToString(h.Sum(nil)), err
}

// unchanging reports whether a file of a store is never changed in place.
func unchanging(name string) bool {
	d, err := layer.ParseName(filepath.Base(name))
	return err == nil && d.FileName() == filepath.Base(name)
}
