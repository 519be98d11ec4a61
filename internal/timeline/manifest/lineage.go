package manifest

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/stratapg/strata/page"
)

// Lineage is where a timeline came from before it was what it is. It is Neon's, in its index.
type Lineage struct {
	// Original is what the timeline branched from at OriginalLSN until DetachedAt, when it was detached from it; zero if it
	// never was.
	Original    page.TimelineID
	OriginalLSN page.LSN
	DetachedAt  time.Time
	// Unsettled says that the detachment has not ended: remote storage may have the timeline as a branch yet, and others branch from
	// Original that are to branch from this one. Until it has, nothing is collected here, and Original keeps what it had.
	Unsettled bool
	// Former are what a branch branched from before, at the same LSN: the oldest first, the last MaxFormer of them. Truncated says
	// that there were more.
	Former    []page.TimelineID
	Truncated bool
}

// MaxFormer is how many former ancestors are remembered; Neon's bound.
const MaxFormer = 99

// None says that there is nothing to remember.
func (l *Lineage) None() bool { return l.OriginalLSN == 0 && len(l.Former) == 0 }

// After adds a former ancestor.
func (l Lineage) After(former page.TimelineID) Lineage {
	l.Former = append(append([]page.TimelineID(nil), l.Former...), former)
	if n := len(l.Former) - MaxFormer; n > 0 {
		l.Former, l.Truncated = l.Former[n:], true
	}
	return l
}

// Descent is what an edit says anew of where a timeline comes from.
type Descent struct {
	Ancestor                page.TimelineID
	AncestorLSN, InitialLSN page.LSN
	Lineage                 Lineage
}

const (
	flagUnsettled = 1
	flagTruncated = 2

	// lineageSize is that of the item without former ancestors.
	lineageSize = 2*ancestorSize + 8 + 1
)

// appendAncestor writes the item of where a timeline comes from, if there is anything to say.
func appendAncestor(b []byte, s *State) []byte {
	l := &s.Lineage
	if l.None() {
		if s.AncestorLSN == 0 {
			return b
		}
		return appendLSNs(append(appendItem(b, tagAncestor, ancestorSize), s.Ancestor[:]...), s.AncestorLSN)
	}
	b = appendItem(b, tagAncestor, lineageSize+len(l.Former)*len(page.TimelineID{}))
	b = appendLSNs(append(b, s.Ancestor[:]...), s.AncestorLSN)
	b = appendLSNs(append(b, l.Original[:]...), l.OriginalLSN)
	var at int64
	if !l.DetachedAt.IsZero() {
		at = l.DetachedAt.UnixNano()
	}
	b = binary.BigEndian.AppendUint64(b, uint64(at))
	var flags uint8
	if l.Unsettled {
		flags |= flagUnsettled
	}
	if l.Truncated {
		flags |= flagTruncated
	}
	b = append(b, flags)
	for i := range l.Former {
		b = append(b, l.Former[i][:]...)
	}
	return b
}

// descent decodes the item; long is its form in files of lineageVersion.
func (s *State) descent(v []byte, long bool) error {
	const id = len(page.TimelineID{})
	if !long && len(v) != ancestorSize || long && (len(v) < lineageSize || (len(v)-lineageSize)%id != 0 || (len(v)-lineageSize)/id > MaxFormer) {
		return unknownItem(tagAncestor, v)
	}
	be := binary.BigEndian
	s.Ancestor, s.AncestorLSN = page.TimelineID(v[:id]), page.LSN(be.Uint64(v[id:]))
	if v = v[ancestorSize:]; !long {
		if s.AncestorLSN == 0 {
			return fmt.Errorf("ancestor without LSN")
		}
		return nil
	}
	l := &s.Lineage
	l.Original, l.OriginalLSN = page.TimelineID(v[:id]), page.LSN(be.Uint64(v[id:]))
	if at := int64(be.Uint64(v[ancestorSize:])); at != 0 {
		l.DetachedAt = time.Unix(0, at).UTC()
	}
	flags := v[ancestorSize+8]
	if flags&^(flagUnsettled|flagTruncated) != 0 {
		return fmt.Errorf("lineage flags %02X are unknown", flags)
	}
	l.Unsettled, l.Truncated = flags&flagUnsettled != 0, flags&flagTruncated != 0
	for v = v[ancestorSize+9:]; len(v) > 0; v = v[id:] {
		l.Former = append(l.Former, page.TimelineID(v[:id]))
	}
	if l.None() || l.OriginalLSN != 0 && s.AncestorLSN != 0 || l.Unsettled && l.OriginalLSN == 0 {
		return fmt.Errorf("a branch at LSN %s that was detached at %s, with %d former ancestors", s.AncestorLSN, l.OriginalLSN, len(l.Former))
	}
	return nil
}
