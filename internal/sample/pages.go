package sample

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/stratapg/strata/page"
)

// Segment names one segment of an SLRU.
type Segment struct {
	Kind   page.SLRU
	Number uint32
}

// String gives the file's path in a data directory.
func (s Segment) String() string { return fmt.Sprintf("%s/%04X", s.Kind, s.Number) }

// Database names a database in a tablespace.
type Database struct{ Spc, DB uint32 }

// String gives "spc/db".
func (d Database) String() string { return fmt.Sprintf("%d/%d", d.Spc, d.DB) }

// Pages are the digests of a whole cluster at one LSN. Empty pages at the end of a fork or segment are not
// in it, nor are map forks and segments of empty pages alone.
type Pages struct {
	LSN      page.LSN
	Rels     map[page.RelTag][]Digest
	Segments map[Segment][]Digest
	Maps     map[Database]Digest
}

// NewPages gives an empty set of digests.
func NewPages(lsn page.LSN) *Pages {
	return &Pages{lsn, map[page.RelTag][]Digest{}, map[Segment][]Digest{}, map[Database]Digest{}}
}

// AddRel adds a fork's digests in block order. The free space map is left out.
func (p *Pages) AddRel(t page.RelTag, ds []Digest) {
	if ds = trim(ds); t.Fork == page.ForkFSM || t.Fork == page.ForkVM && len(ds) == 0 {
		return
	}
	p.Rels[t] = ds
}

// AddSegment adds an SLRU segment's digests in page order.
func (p *Pages) AddSegment(s Segment, ds []Digest) {
	if ds = trim(ds); len(ds) > 0 {
		p.Segments[s] = ds
	}
}

// Count gives the number of digests of relation pages and of SLRU pages.
func (p *Pages) Count() (rels, slru int) {
	for _, ds := range p.Rels {
		rels += len(ds)
	}
	for _, ds := range p.Segments {
		slru += len(ds)
	}
	return rels, slru
}

// The file is text, one thing a line, so that it can be looked at and diffed:
//
//	strata-pages 1
//	lsn 0/2000028
//	rel 1663/5/1259 <16 hex digits for each block>
//	rel 1663/5/1259_vm …
//	slru pg_xact/0000 <16 hex digits for each page>
//	relmap 1663/5 <16 hex digits>
//	end
const (
	pagesHeader = "strata-pages 1"
	hexDigits   = 16
	// maxLine bounds a line: a relation of 1 GiB.
	maxLine = 131072*hexDigits + 100
)

// WriteTo writes the text form, sorted.
func (p *Pages) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nlsn %s\n", pagesHeader, p.LSN)
	for _, t := range slices.SortedFunc(maps.Keys(p.Rels), page.RelTag.Compare) {
		line(&b, "rel", t, p.Rels[t])
	}
	for _, s := range slices.SortedFunc(maps.Keys(p.Segments), compareSegments) {
		line(&b, "slru", s, p.Segments[s])
	}
	for _, d := range slices.SortedFunc(maps.Keys(p.Maps), compareDatabases) {
		line(&b, "relmap", d, []Digest{p.Maps[d]})
	}
	b.WriteString("end\n")
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

func line(b *strings.Builder, what string, name fmt.Stringer, ds []Digest) {
	fmt.Fprintf(b, "%s %s ", what, name)
	for _, d := range ds {
		fmt.Fprintf(b, "%016x", uint64(d))
	}
	b.WriteByte('\n')
}

// ReadPages reads the text form. Errors name the line.
func ReadPages(r io.Reader) (*Pages, error) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxLine)
	p, n, ended := NewPages(0), 0, false
	for s.Scan() {
		n++
		var err error
		switch {
		case ended:
			err = fmt.Errorf("something follows the end")
		case n == 1:
			if s.Text() != pagesHeader {
				err = fmt.Errorf("%.40q, want %q", s.Text(), pagesHeader)
			}
		case s.Text() == "end":
			ended = true
		default:
			err = p.readLine(s.Text())
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("line %d: %w", n+1, err)
	}
	if !ended || p.LSN == page.InvalidLSN {
		return nil, fmt.Errorf("cut off after line %d", n)
	}
	return p, nil
}

func (p *Pages) readLine(text string) error {
	what, rest, _ := strings.Cut(text, " ")
	name, hex, _ := strings.Cut(rest, " ")
	if what == "lsn" {
		lsn, err := page.ParseLSN(name)
		p.LSN = lsn
		return err
	}
	ds, err := readDigests(hex)
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, name, err)
	}
	switch what {
	case "rel":
		var t page.RelTag
		if t, err = parseRel(name); err == nil {
			p.Rels[t] = ds
		}
	case "slru":
		var g Segment
		if g, err = parseSegment(name); err == nil {
			p.Segments[g] = ds
		}
	case "relmap":
		var d Database
		if _, err = fmt.Sscanf(name, "%d/%d", &d.Spc, &d.DB); err == nil && len(ds) != 1 {
			err = fmt.Errorf("relmap %s: %d digests, want 1", name, len(ds))
		}
		if err == nil {
			p.Maps[d] = ds[0]
		}
	default:
		err = fmt.Errorf("%.20q: want lsn, rel, slru, relmap or end", what)
	}
	return err
}

func readDigests(hex string) ([]Digest, error) {
	if len(hex)%hexDigits != 0 {
		return nil, fmt.Errorf("%d hex digits are not whole digests", len(hex))
	}
	ds := make([]Digest, len(hex)/hexDigits)
	for i := range ds {
		v, err := strconv.ParseUint(hex[i*hexDigits:(i+1)*hexDigits], 16, 64)
		if err != nil {
			return nil, fmt.Errorf("digest %d: %w", i, err)
		}
		ds[i] = Digest(v)
	}
	return ds, nil
}

func parseRel(s string) (page.RelTag, error) {
	var t page.RelTag
	name, fork, hasFork := strings.Cut(s, "_")
	if _, err := fmt.Sscanf(name, "%d/%d/%d", &t.Spc, &t.DB, &t.Rel); err != nil {
		return t, fmt.Errorf("relation %q: %w", s, err)
	}
	if !hasFork {
		return t, nil
	}
	for _, f := range []page.Fork{page.ForkVM, page.ForkInit} {
		if f.String() == fork {
			t.Fork = f
			return t, nil
		}
	}
	return t, fmt.Errorf("relation %q: no such fork", s)
}

func parseSegment(s string) (Segment, error) {
	for _, k := range page.SLRUs {
		number, ok := strings.CutPrefix(s, k.String()+"/")
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(number, 16, 32)
		return Segment{k, uint32(n)}, err
	}
	return Segment{}, fmt.Errorf("segment %q: no such SLRU", s)
}
