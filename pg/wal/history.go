package wal

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stratapg/strata/page"
)

// HistoryEntry is one of PostgreSQL's timelines and the stretch of WAL that belongs to it.
type HistoryEntry struct {
	ID   uint32
	LSNs page.LSNRange // End is the switch point, for the last timeline page.MaxLSN
}

// History is a PostgreSQL timeline with its ancestors, oldest first: what a history file tells. It is not
// to be changed once made.
type History struct {
	Entries []HistoryEntry
}

// maxHistoryBytes bounds a history file: a line for each of some ten thousand promotions.
const maxHistoryBytes = 1 << 20

// SingleTimeline is the history of a timeline without ancestors.
func SingleTimeline(tli uint32) *History {
	return &History{Entries: []HistoryEntry{{ID: tli, LSNs: page.LSNRange{End: page.MaxLSN}}}}
}

// HistoryFileName is the name of the history file of timeline tli.
func HistoryFileName(tli uint32) string { return fmt.Sprintf("%08X.history", tli) }

// ParseHistoryName gives the timeline of a history file's name.
func ParseHistoryName(name string) (tli uint32, ok bool) {
	hex, ok := strings.CutSuffix(name, ".history")
	if !ok || len(hex) != 8 || !upperHex(hex) {
		return 0, false
	}
	n, _ := strconv.ParseUint(hex, 16, 32)
	return uint32(n), n > 0
}

// ParseHistory reads the history file of timeline tli (access/transam/timeline.c): a line per ancestor with
// its number, the LSN at which it was left, and a reason; empty lines and those from # on do not count.
func ParseHistory(tli uint32, content []byte) (*History, error) {
	if len(content) > maxHistoryBytes {
		return nil, fmt.Errorf("%s: %d bytes; none has over %d", HistoryFileName(tli), len(content), maxHistoryBytes)
	}
	h := &History{}
	begin, n := page.LSN(0), 0
	for line := range bytes.Lines(content) {
		n++
		fields := strings.Fields(string(line))
		if len(fields) == 0 || fields[0][0] == '#' {
			continue
		}
		bad := func(what string) error {
			return fmt.Errorf("%s, line %d: %s: %.80q", HistoryFileName(tli), n, what, line)
		}
		id, err := strconv.ParseUint(fields[0], 10, 32)
		if err != nil || id == 0 {
			return nil, bad("want a timeline number first")
		}
		if len(fields) < 2 {
			return nil, bad("want the LSN of the switch after the number")
		}
		end, err := page.ParseLSN(fields[1])
		if err != nil {
			return nil, bad(err.Error())
		}
		if len(h.Entries) > 0 && uint32(id) <= h.Entries[len(h.Entries)-1].ID || uint32(id) >= tli {
			return nil, bad("timelines must ascend and stay below the file's own")
		}
		if end < begin {
			return nil, bad("the switch comes before the one above")
		}
		h.Entries = append(h.Entries, HistoryEntry{ID: uint32(id), LSNs: page.LSNRange{Start: begin, End: end}})
		begin = end
	}
	h.Entries = append(h.Entries, HistoryEntry{ID: tli, LSNs: page.LSNRange{Start: begin, End: page.MaxLSN}})
	return h, nil
}

// Newest is the number of the timeline itself.
func (h *History) Newest() uint32 { return h.Entries[len(h.Entries)-1].ID }

// Find gives the entry of timeline tli.
func (h *History) Find(tli uint32) (HistoryEntry, bool) {
	i := slices.IndexFunc(h.Entries, func(e HistoryEntry) bool { return e.ID == tli })
	if i < 0 {
		return HistoryEntry{}, false
	}
	return h.Entries[i], true
}

// At gives the timeline to which the byte at lsn belongs.
func (h *History) At(lsn page.LSN) HistoryEntry {
	for _, e := range h.Entries {
		if lsn < e.LSNs.End {
			return e
		}
	}
	return h.Entries[len(h.Entries)-1]
}
