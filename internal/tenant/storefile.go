package tenant

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

const (
	storeFileName = "STRATA"
	lockFileName  = "LOCK"
	reserveName   = "RESERVE"
	tenantsName   = "tenants"
	timelinesName = "timelines"

	storeMagic         = "strata store"
	storeVersion       = 1
	maxStoreFileSize   = 64 << 10
	maxFeatures        = 256
	maxFeatureNameSize = 64
)

var (
	// ErrNotAStore says that a directory holds no store.
	ErrNotAStore = errors.New("no Strata store")
	// ErrUnsupported says that a store needs something that this program does not know.
	ErrUnsupported = errors.New("store was written by a newer version")
	// ErrCorruptStoreFile marks a store file that cannot be what was written.
	ErrCorruptStoreFile = errors.New("corrupt store file")
)

// StoreFile says what a store is. It is text, so that a person who finds one can read it:
//
//	strata store
//	version 1
//	id 6f0c…
//	tenant 3b1e…
//	compatible
//	read-compatible
//	incompatible neon-layers-3 strata-manifest-1
//	crc32c 89abcdef
//
// Every line ends in a line feed. Features are names, in ascending order. A program that does not know one
// may use the store all the same if it is compatible, may only read it if it is read-compatible, and must
// leave it alone if it is incompatible. The checksum is over all bytes before its line.
type StoreFile struct {
	Version                                  int
	ID                                       [16]byte
	DefaultTenant                            page.TenantID
	Compatible, ReadCompatible, Incompatible []string
}

// featureShards says that there are, or were, tenants in shards: who does not know it would take their folders for rubbish.
const featureShards = "shards-1"

// Features that this program knows. Every store has the incompatible ones that are required.
var (
	knownCompatible      = []string{}
	knownReadCompatible  = []string{}
	requiredIncompatible = []string{"neon-layers-3", "strata-manifest-1"}
	knownIncompatible    = []string{"neon-layers-3", featureShards, "strata-manifest-1"}
)

// newStoreFile describes a new store with identities drawn at random.
func newStoreFile() StoreFile {
	s := StoreFile{Version: storeVersion, Incompatible: slices.Clone(requiredIncompatible)}
	s.ID, s.DefaultTenant = randomID(), page.TenantID(randomID())
	return s
}

func randomID() (id [16]byte) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}

// Encode gives the file's bytes.
func (s *StoreFile) Encode() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nversion %d\nid %x\ntenant %s\n", storeMagic, s.Version, s.ID, s.DefaultTenant)
	for _, f := range s.features() {
		b.WriteString(strings.Join(append([]string{f.kind}, *f.names...), " "))
		b.WriteByte('\n')
	}
	return fmt.Appendf([]byte(b.String()), "crc32c %08x\n", storeCRC(b.String()))
}

func storeCRC(s string) uint32 {
	return crc32.Checksum([]byte(s), crc32.MakeTable(crc32.Castagnoli))
}

type featureLine struct {
	kind  string
	names *[]string
	known []string
}

func (s *StoreFile) features() []featureLine {
	return []featureLine{
		{"compatible", &s.Compatible, knownCompatible},
		{"read-compatible", &s.ReadCompatible, knownReadCompatible},
		{"incompatible", &s.Incompatible, knownIncompatible},
	}
}

// DecodeStoreFile reads a store file. A version that is not known is ErrUnsupported; features are for Check.
func DecodeStoreFile(b []byte) (s StoreFile, err error) {
	text, ok := strings.CutPrefix(string(b), storeMagic+"\n")
	if !ok {
		return s, fmt.Errorf("%w: it does not begin with %q", ErrCorruptStoreFile, storeMagic)
	}
	lines := strings.Split(text, "\n")
	at := 0
	line := func(word string) string {
		if err != nil {
			return ""
		}
		var got string
		if at < len(lines) {
			got = lines[at]
		}
		w, rest, _ := strings.Cut(got, " ")
		if w != word {
			err = fmt.Errorf("%w: line %d is %.40q, want %q", ErrCorruptStoreFile, at+2, got, word)
		}
		at++
		return rest
	}
	// The version comes before all that another version may have changed.
	version := line("version")
	if err != nil {
		return s, err
	}
	if s.Version, err = strconv.Atoi(version); err != nil {
		return s, fmt.Errorf("%w: version %.40q", ErrCorruptStoreFile, version)
	}
	if s.Version != storeVersion {
		return s, fmt.Errorf("%w: store format version %d, this program knows %d", ErrUnsupported, s.Version, storeVersion)
	}
	id, tenant := line("id"), line("tenant")
	for _, f := range s.features() {
		*f.names = strings.Fields(line(f.kind))
		if len(*f.names) == 0 {
			*f.names = nil
		}
	}
	sum := line("crc32c")
	if err != nil {
		return s, err
	}
	if n, e := hex.Decode(s.ID[:], []byte(id[:min(len(id), 32)])); e != nil || n != 16 {
		return s, fmt.Errorf("%w: id %.40q", ErrCorruptStoreFile, id)
	}
	if s.DefaultTenant, err = page.ParseTenantID(tenant); err != nil {
		return s, fmt.Errorf("%w: %w", ErrCorruptStoreFile, err)
	}
	// What is accepted is exactly what Encode writes: blanks, order and checksum included.
	if string(s.Encode()) != string(b) {
		return s, fmt.Errorf("%w: checksum %.8s does not fit what it says", ErrCorruptStoreFile, sum)
	}
	return s, s.checkNames()
}

func (s *StoreFile) checkNames() error {
	for _, f := range s.features() {
		if len(*f.names) > maxFeatures || !slices.IsSorted(*f.names) {
			return fmt.Errorf("%w: %s features out of order", ErrCorruptStoreFile, f.kind)
		}
		for _, n := range *f.names {
			if len(n) > maxFeatureNameSize {
				return fmt.Errorf("%w: feature %.20q is too long", ErrCorruptStoreFile, n)
			}
		}
	}
	return nil
}

// Check says why this program must not open the store that way, naming the features.
func (s *StoreFile) Check(readOnly bool) error {
	if u := unknown(s.Incompatible, knownIncompatible); len(u) > 0 {
		return fmt.Errorf("%w: it has incompatible features unknown here: %s; open it with a newer version", ErrUnsupported, strings.Join(u, ", "))
	}
	if u := unknown(s.ReadCompatible, knownReadCompatible); len(u) > 0 && !readOnly {
		return fmt.Errorf("%w: it has features without which it may only be read: %s; open it read-only, or with a newer version",
			ErrUnsupported, strings.Join(u, ", "))
	}
	for _, f := range requiredIncompatible {
		if !slices.Contains(s.Incompatible, f) {
			return fmt.Errorf("%w: feature %s is missing", ErrCorruptStoreFile, f)
		}
	}
	return nil
}

func unknown(names, known []string) (u []string) {
	for _, n := range names {
		if !slices.Contains(known, n) {
			u = append(u, n)
		}
	}
	return u
}

// needShards has the store's file say, durably, that there are shards. Nothing of a shard is made before. The caller is the only one
// who makes tenants.
func (s *Store) needShards() error {
	f := s.File()
	if slices.Contains(f.Incompatible, featureShards) {
		return nil
	}
	f.Incompatible = append(slices.Clone(f.Incompatible), featureShards)
	slices.Sort(f.Incompatible)
	if err := virtualfile.WriteFileAtomic(s.fs, filepath.Join(s.dir, storeFileName), f.Encode()); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.file.Incompatible = f.Incompatible
	return nil
}

// readStoreFile reads the store file in dir.
func readStoreFile(fs virtualfile.FS, dir string) (StoreFile, error) {
	path := filepath.Join(dir, storeFileName)
	b, err := virtualfile.ReadFile(fs, path, maxStoreFileSize)
	if err != nil {
		return StoreFile{}, err
	}
	s, err := DecodeStoreFile(b)
	if err != nil {
		return s, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}
