package tenant

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/virtualfile"
)

// A tenant's folder has a file TIMELINES of those timelines that are in a state of which their own folders do not tell:
//
//	strata timelines
//	offloaded 0f…0f 1c…1c 0/16B3748 2026-11-21T10:00:00Z "experiment"
//	crc32c 89abcdef
//
// A line is a state (archived, offloaded, detached, deleting), the timeline's id, that of its ancestor and the LSN at which it
// branches (zeros if it does not), when it was archived ("-" if it is not), and its name. Lines are in the order of ids. A
// timeline without a line has a folder, and is as its manifest says.
const (
	timelinesFileName = "TIMELINES"
	timelinesMagic    = "strata timelines"
	maxTimelinesFile  = 256 << 20
	recordWords       = 6
)

// record is a line of the file, or what it would say.
type record struct {
	word     string // the state; empty for one that has no line
	id       page.TimelineID
	ancestor page.TimelineID
	lsn      page.LSN // where it branches; 0 if it does not, or if that is not known
	archived time.Time
	name     string
}

// Words for states.
const (
	wordArchived  = "archived"
	wordOffloaded = "offloaded"
	wordDetached  = "detached"
	wordDeleting  = "deleting"
)

type records map[page.TimelineID]record

func (rs records) encode() []byte {
	var b bytes.Buffer
	b.WriteString(timelinesMagic + "\n")
	for _, r := range slices.SortedFunc(maps.Values(rs), func(a, b record) int { return bytes.Compare(a.id[:], b.id[:]) }) {
		at := "-"
		if !r.archived.IsZero() {
			at = r.archived.UTC().Format(time.RFC3339Nano)
		}
		fmt.Fprintf(&b, "%s %s %s %s %s %s\n", r.word, r.id, r.ancestor, r.lsn, at, strconv.QuoteToASCII(r.name))
	}
	return sealText(b.String())
}

func decodeRecords(b []byte) (records, error) {
	bad := func(n int, line string) error {
		return fmt.Errorf("%w: line %d is %.80q", ErrCorruptStoreFile, n, line)
	}
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	if len(lines) < 2 || lines[0] != timelinesMagic {
		return nil, fmt.Errorf("%w: it does not begin with %q, or is cut", ErrCorruptStoreFile, timelinesMagic)
	}
	rs := records{}
	for i, line := range lines[1 : len(lines)-1] {
		r, ok := parseRecord(line)
		if !ok {
			return nil, bad(i+2, line)
		}
		rs[r.id] = r
	}
	if !bytes.Equal(rs.encode(), b) {
		return nil, fmt.Errorf("%w: its checksum does not fit", ErrCorruptStoreFile)
	}
	return rs, nil
}

func parseRecord(line string) (r record, ok bool) {
	w := strings.SplitN(line, " ", recordWords)
	if len(w) != recordWords || !slices.Contains([]string{wordArchived, wordOffloaded, wordDetached, wordDeleting}, w[0]) {
		return r, false
	}
	var errs [5]error
	r.word = w[0]
	r.id, errs[0] = page.ParseTimelineID(w[1])
	r.ancestor, errs[1] = page.ParseTimelineID(w[2])
	r.lsn, errs[2] = page.ParseLSN(w[3])
	if w[4] != "-" {
		r.archived, errs[3] = time.Parse(time.RFC3339Nano, w[4])
	}
	r.name, errs[4] = strconv.Unquote(w[5])
	return r, cmp.Or(errs[:]...) == nil
}

// readRecords reads a tenant's file; there need be none.
func (s *Store) readRecords(id page.TenantShardID) (records, error) {
	path := filepath.Join(s.tenantDir(id), timelinesFileName)
	b, err := virtualfile.ReadFile(s.fs, path, maxTimelinesFile)
	if errors.Is(err, fs.ErrNotExist) {
		return records{}, nil
	}
	if err != nil {
		return nil, err
	}
	rs, err := decodeRecords(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return rs, nil
}

// record makes lines durable, or, of those without a word, has them go. After an error it may have done so or not, and called
// again it does so anew. The caller has the tenant's turn.
func (t *Tenant) record(changes ...record) error {
	next := maps.Clone(t.records)
	if next == nil {
		next = records{}
	}
	for _, r := range changes {
		if r.word == "" {
			delete(next, r.id)
		} else {
			next[r.id] = r
		}
	}
	if !t.unsure && maps.Equal(next, t.records) {
		return nil
	}
	t.unsure = true
	if err := virtualfile.WriteFileAtomic(t.store.fs, filepath.Join(t.store.tenantDir(t.ShardID()), timelinesFileName), next.encode()); err != nil {
		return err
	}
	t.records, t.unsure = next, false
	return nil
}
