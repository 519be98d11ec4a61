package wal

import (
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/stratapg/strata/page"
)

// segmentFile is a file that holds a segment or a part of it.
type segmentFile struct {
	name    string
	tli     uint32
	start   page.LSN
	partial bool // named .partial: only the part up to some record was ever written
}

// archive is what a directory holds of WAL: a listing, taken once.
type archive struct {
	fsys      fs.FS
	label     string // for messages
	segSize   uint32
	files     map[page.LSN][]segmentFile
	starts    []page.LSN // ascending
	histories map[uint32]*History
	packed    []string // compressed segments, which are not read
}

// listArchive reads the directory fsys. segSize 0 means: as the first segment says.
func listArchive(fsys fs.FS, label string, segSize uint32) (*archive, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("list WAL in %s: %w", label, err)
	}
	a := &archive{fsys: fsys, label: label, segSize: segSize,
		files: map[page.LSN][]segmentFile{}, histories: map[uint32]*History{}}
	if segSize == 0 {
		if a.segSize, err = a.findSegSize(entries); err != nil {
			return nil, err
		}
	}
	for _, e := range entries {
		if err := a.add(e.Name()); err != nil {
			return nil, err
		}
	}
	for s := range a.files {
		a.starts = append(a.starts, s)
	}
	slices.Sort(a.starts)
	return a, nil
}

// add files the name if it is one of WAL's; others, such as archive_status, do not matter.
func (a *archive) add(name string) error {
	if tli, ok := ParseHistoryName(name); ok {
		b, err := readHistoryFile(a.fsys, name)
		if err == nil {
			a.histories[tli], err = ParseHistory(tli, b)
		}
		if err != nil {
			return fmt.Errorf("timeline history in %s: %w", a.label, err)
		}
		return nil
	}
	base, partial := strings.CutSuffix(name, ".partial")
	tli, start, ok := ParseSegmentName(base, a.segSize)
	if ok {
		a.files[start] = append(a.files[start], segmentFile{name: name, tli: tli, start: start, partial: partial})
		return nil
	}
	if base, ext, ok := strings.Cut(name, "."); ok && slices.Contains([]string{"gz", "lz4", "zst", "bz2", "xz"}, ext) && len(base) == 24 && upperHex(base) {
		a.packed = append(a.packed, name)
	}
	return nil
}

func readHistoryFile(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxHistoryBytes+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

// findSegSize takes the segment size from the first segment whose header has a sound one.
func (a *archive) findSegSize(entries []fs.DirEntry) (uint32, error) {
	seen := ""
	for _, e := range entries {
		base, _ := strings.CutSuffix(e.Name(), ".partial")
		if len(base) != 24 || !upperHex(base) {
			continue
		}
		seen = e.Name()
		var head [LongHeader]byte
		if a.readHead(e.Name(), head[:]) != nil {
			continue
		}
		if n := binary.LittleEndian.Uint32(head[32:]); ValidSegSize(n) {
			return n, nil
		}
	}
	if seen != "" {
		return 0, fmt.Errorf("%w: no segment in %s says how large segments are (looked at %s last)", ErrForeign, a.label, seen)
	}
	return DefaultSegSize, nil
}

// readHead reads the first bytes of a file.
func (a *archive) readHead(name string, head []byte) error {
	f, err := a.fsys.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.ReadFull(f, head)
	return err
}

// descent finds the timelines from that at start to the target. tli 0: the newest that has start's segment;
// target 0: the newest that the directory knows to descend from tli.
func (a *archive) descent(start page.LSN, tli, target uint32) (*History, error) {
	if tli == 0 {
		tli = a.timelineOf(start, target)
	}
	if target == 0 {
		target = a.newestFrom(start, tli)
	}
	h := SingleTimeline(tli)
	if target != tli {
		if h = a.histories[target]; h == nil {
			return nil, fmt.Errorf("%w: timeline %d is asked for, but %s is not in %s", ErrGap, target, HistoryFileName(target), a.label)
		}
	} else if known := a.histories[tli]; known != nil {
		h = known
	}
	e, ok := h.Find(tli)
	if !ok {
		return nil, fmt.Errorf("%w: timeline %d does not descend from timeline %d (%s in %s)",
			ErrForeign, target, tli, HistoryFileName(target), a.label)
	}
	if start > e.LSNs.End {
		return nil, fmt.Errorf("%w: timeline %d left timeline %d at %v, before %v (%s in %s)",
			ErrForeign, target, tli, e.LSNs.End, start, HistoryFileName(target), a.label)
	}
	return h, nil
}

// timelineOf guesses the timeline of the byte at start.
func (a *archive) timelineOf(start page.LSN, target uint32) uint32 {
	if h := a.histories[target]; h != nil {
		return h.At(start).ID
	}
	if target != 0 {
		return target
	}
	newest := uint32(0)
	for _, f := range a.files[segStart(segNo(start, a.segSize), a.segSize)] {
		newest = max(newest, f.tli)
	}
	for tli := range a.histories {
		newest = max(newest, tli)
	}
	if h := a.histories[newest]; h != nil {
		return h.At(start).ID
	}
	return max(newest, 1)
}

// newestFrom finds the newest timeline that was forked off tli at or after start, or off such a one.
func (a *archive) newestFrom(start page.LSN, tli uint32) uint32 {
	best := tli
	for id, h := range a.histories {
		if e, ok := h.Find(tli); ok && id > best && start <= e.LSNs.End {
			best = id
		}
	}
	return best
}

// pick finds the file to read the segment from that begins at start: that of the newest timeline of h which
// had begun by then; PostgreSQL copies the part before the switch into it. end is where its use ends.
func (a *archive) pick(h *History, start page.LSN) (f segmentFile, end page.LSN, ok bool) {
	segEnd := start + page.LSN(a.segSize)
	files := a.files[start]
	for _, e := range slices.Backward(h.Entries) {
		if e.LSNs.Start >= segEnd || e.LSNs.End <= start {
			continue
		}
		for _, partial := range []bool{false, true} {
			i := slices.IndexFunc(files, func(f segmentFile) bool { return f.tli == e.ID && f.partial == partial })
			if i >= 0 {
				return files[i], min(segEnd, e.LSNs.End), true
			}
		}
	}
	return segmentFile{}, 0, false
}

// last gives the end of the highest segment that h can use, 0 if there is none.
func (a *archive) last(h *History) page.LSN {
	for _, s := range slices.Backward(a.starts) {
		if f, _, ok := a.pick(h, s); ok {
			return f.start + page.LSN(a.segSize)
		}
	}
	return 0
}

// hint says what in the directory may explain that a segment is missing.
func (a *archive) hint(h *History) string {
	switch {
	case len(a.packed) > 0:
		return fmt.Sprintf("; %d compressed segments such as %s are there: decompress them first", len(a.packed), a.packed[0])
	case len(a.starts) == 0:
		return fmt.Sprintf("; there is no segment of %d bytes in it at all", a.segSize)
	}
	for _, s := range slices.Backward(a.starts) {
		for _, f := range a.files[s] {
			if _, ok := h.Find(f.tli); !ok {
				return fmt.Sprintf("; %s is of timeline %d, which is not in use here: is %s missing?", f.name, f.tli, HistoryFileName(f.tli))
			}
		}
	}
	return ""
}
