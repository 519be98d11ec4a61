package clustercheck

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
	"github.com/stratapg/strata/pg/control"
	"github.com/stratapg/strata/pg/mask"
)

// Names of what may lawfully differ, as in docs/masks.md.
const (
	lawUnlogged  = "unlogged-main-fork"
	lawFSM       = "free-space-map"
	lawZeroTail  = "zero-pages-at-end"
	lawSequence  = "sequence-logged-ahead"
	lawSPGist    = "spgist-last-used-pages"
	lawEmptyMap  = "map-without-bits"
	lawNextMulti = "next-multixact-offset"
	lawCopiedMap = "map-copied-without-bits"
	lawStampless = "commit-timestamps-begun"
	lawDropped   = "dropped-before-the-backup"
)

// relation compares one fork. size and have are ours.
func (c *checker) relation(ctx context.Context, t page.RelTag, size uint32, have, unlogged bool) error {
	disk := c.disk.rels[t]
	what := "relation " + t.String()
	switch {
	case t.Fork == page.ForkFSM:
		c.lawful(lawFSM, 1)
		return nil
	case unlogged && t.Fork != page.ForkInit:
		c.lawful(lawUnlogged, 1)
		return nil
	case t.Fork == page.ForkVM && (!have || disk == nil):
		return c.loneMap(ctx, t, size, disk)
	case !have:
		c.differs(what, "only the data directory has it (%d blocks)", disk.blocks)
		return nil
	case disk == nil && c.o.Fuzzy && size == 0:
		c.lawful(lawDropped, 1)
		return nil
	case disk == nil:
		c.differs(what, "only the timeline has it (%d blocks)", size)
		return nil
	}
	ours := c.pages(ctx, t, min(size, disk.blocks))
	err := disk.read(func(block uint32, theirs []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if block >= size {
			c.extra(t, block, theirs, "the data directory")
			return nil
		}
		mine, err := ours(block)
		if err != nil {
			return err
		}
		c.compare(t, block, mine, theirs)
		return nil
	})
	if err != nil || size <= disk.blocks {
		return err
	}
	return c.ourTail(ctx, t, disk.blocks, size)
}

// loneMap judges a visibility map that one side alone has: one without a set bit says nothing.
func (c *checker) loneMap(ctx context.Context, t page.RelTag, size uint32, disk *relFile) error {
	if disk == nil {
		return c.ourTail(ctx, t, 0, size)
	}
	return disk.read(func(block uint32, theirs []byte) error {
		c.extra(t, block, theirs, "the data directory")
		return nil
	})
}

// ourTail judges blocks that the data directory has not.
func (c *checker) ourTail(ctx context.Context, t page.RelTag, from, to uint32) error {
	return c.o.Reader.GetVectored(ctx, page.NewSet(page.Range{Start: t.Block(from), End: t.Block(to)}), c.o.LSN,
		func(k page.Key, p []byte, err error) error {
			if err != nil {
				return err
			}
			if t.Fork == page.ForkVM && noBits(p) {
				c.lawful(lawEmptyMap, 1)
				return nil
			}
			c.differs(fmt.Sprintf("relation %s block %d", t, k.F6), "only the timeline has it")
			return nil
		})
}

// extra judges a block beyond our end.
func (c *checker) extra(t page.RelTag, block uint32, p []byte, who string) {
	switch {
	case t.Fork == page.ForkVM && noBits(p):
		c.lawful(lawEmptyMap, 1)
	case t.Fork != page.ForkVM && bufpage.Page(p).IsZero():
		c.lawful(lawZeroTail, 1)
	default:
		c.differs(fmt.Sprintf("relation %s block %d", t, block), "only %s has it", who)
	}
}

// noBits reports whether a map page holds nothing behind its header.
func noBits(p []byte) bool {
	return !slices.ContainsFunc(p[bufpage.HeaderSize:], func(b byte) bool { return b != 0 })
}

// windowBlocks is how many blocks of ours are read at a time.
const windowBlocks = 512

// pages gives a function that yields our blocks of t when asked for them in ascending order. Blocks without
// a version are zero pages, as PostgreSQL reads them.
func (c *checker) pages(ctx context.Context, t page.RelTag, size uint32) func(uint32) ([]byte, error) {
	var buf []byte
	first, end := uint32(0), uint32(0)
	load := func(from uint32) error {
		first, end = from, min(size, from+windowBlocks)
		if buf == nil {
			buf = make([]byte, int(min(size, windowBlocks))*pg.BlockSize)
		}
		clear(buf)
		return c.o.Reader.GetVectored(ctx, page.NewSet(page.Range{Start: t.Block(first), End: t.Block(end)}), c.o.LSN,
			func(k page.Key, p []byte, err error) error {
				if err != nil {
					return err
				}
				if len(p) != pg.BlockSize {
					return fmt.Errorf("%s at %s: %d bytes long", k.Describe(), c.o.LSN, len(p))
				}
				copy(buf[int(k.F6-first)*pg.BlockSize:], p)
				return nil
			})
	}
	return func(block uint32) ([]byte, error) {
		if block >= end {
			if err := load(block); err != nil {
				return nil, err
			}
		}
		at := int(block-first) * pg.BlockSize
		return buf[at : at+pg.BlockSize], nil
	}
}

// compare judges one block that both sides have.
func (c *checker) compare(t page.RelTag, block uint32, mine, theirs []byte) {
	c.mu.Lock()
	c.report.Pages++
	c.mu.Unlock()
	kind := mask.KindOf(theirs, t.Fork)
	at := mask.Difference(mine, theirs, kind, block)
	if at < 0 {
		return
	}
	if kind == mask.KindVM && !c.imported[dbID{t.Spc, t.DB}] && subset(mine, theirs) {
		c.lawful(lawCopiedMap, 1)
		return
	}
	what := fmt.Sprintf("relation %s block %d", t, block)
	if reason := lawfulField(kind, block); reason != "" && mask.KindOf(mine, t.Fork) == kind {
		a, b := slices.Clone(mine), slices.Clone(theirs)
		blankField(a, kind)
		blankField(b, kind)
		if at = mask.Difference(a, b, kind, block); at < 0 {
			c.lawful(reason, 1)
			return
		}
	}
	c.differs(what, "%s page differs from byte %d on (pd_lsn ours %s, theirs %s)", kind, at,
		bufpage.Page(mine).LSN(), bufpage.Page(theirs).LSN())
}

// subset reports whether every bit of map page a is set in b too.
func subset(a, b []byte) bool {
	for i := bufpage.HeaderSize; i < len(a); i++ {
		if a[i]&^b[i] != 0 {
			return false
		}
	}
	return true
}

// lawfulField names the law under which some field of such a page may differ, or "".
func lawfulField(kind mask.Kind, block uint32) string {
	switch {
	case kind == mask.KindSequence:
		return lawSequence
	case kind == mask.KindSPGist && block == 0:
		return lawSPGist
	}
	return ""
}

// blankField zeroes the field. A sequence's tuple holds last_value, log_cnt and is_called behind its header
// (commands/sequence.h); the metapage of SP-GiST has lastUsedPages behind its magic number
// (access/spgist_private.h).
func blankField(p []byte, kind mask.Kind) {
	const (
		hoffInTuple    = 22
		sequenceFields = 8 + 8 + 1
		spgistOffset   = bufpage.HeaderSize + 4
		spgistFields   = 8 * 8
	)
	if kind == mask.KindSPGist {
		clear(p[spgistOffset : spgistOffset+spgistFields])
		return
	}
	off, length := itemPointer(p)
	if length <= hoffInTuple || off+length > len(p) {
		return
	}
	from := off + int(p[off+hoffInTuple])
	if from+sequenceFields <= off+length {
		clear(p[from : from+sequenceFields])
	}
}

// slrus compares every page of the SLRUs.
func (c *checker) slrus(ctx context.Context) error {
	raw, err := c.snap.CheckPoint(ctx)
	if err != nil {
		return err
	}
	next, err := control.ParseCheckPoint(raw)
	if err != nil {
		return err
	}
	for _, kind := range page.SLRUs {
		ours, err := c.snap.SLRUSegments(ctx, kind)
		if err != nil {
			return err
		}
		theirs, err := slruSegments(filepath.Join(c.o.Dir, kind.String()))
		if err != nil {
			return err
		}
		segments := slices.Concat(ours, theirs)
		slices.Sort(segments)
		for _, s := range slices.Compact(segments) {
			if err := c.slruSegment(ctx, kind, s, slices.Contains(ours, s), slices.Contains(theirs, s), next.NextMulti()); err != nil {
				return err
			}
		}
	}
	return nil
}

func slruSegments(dir string) ([]uint32, error) {
	names, err := readDir(dir)
	if err != nil {
		return nil, err
	}
	var out []uint32
	for _, n := range names {
		if s, err := strconv.ParseUint(n, 16, 32); err == nil {
			out = append(out, uint32(s))
		}
	}
	return out, nil
}

// isZeroFile reports whether a segment can be read and holds zeros alone.
func isZeroFile(name string) bool {
	b, err := os.ReadFile(name)
	return err == nil && len(bytes.TrimLeft(b, "\x00")) == 0
}

// multiPerPage is how many offsets a page of pg_multixact/offsets has.
const multiPerPage = pg.BlockSize / 4

func (c *checker) slruSegment(ctx context.Context, kind page.SLRU, seg uint32, ours, theirs bool, nextMulti uint32) error {
	what := fmt.Sprintf("%s segment %04X", kind, seg)
	if !ours && kind == page.CommitTs && isZeroFile(filepath.Join(c.o.Dir, kind.String(), fmt.Sprintf("%04X", seg))) {
		c.lawful(lawStampless, 1)
		return nil
	}
	if !ours || !theirs {
		who := map[bool]string{true: "the timeline", false: "the data directory"}[ours]
		c.differs(what, "only %s has it", who)
		return nil
	}
	file, err := os.ReadFile(filepath.Join(c.o.Dir, kind.String(), fmt.Sprintf("%04X", seg)))
	if err != nil {
		return err
	}
	pages, err := c.snap.SLRUSegmentPages(ctx, kind, seg)
	if err != nil {
		return err
	}
	zero := make([]byte, pg.BlockSize)
	mine := make([][]byte, max(pages, uint32(len(file)/pg.BlockSize)))
	err = c.o.Reader.GetVectored(ctx, page.NewSet(page.Range{Start: kind.Block(seg, 0), End: kind.Block(seg, pages)}), c.o.LSN,
		func(k page.Key, p []byte, err error) error {
			if err == nil {
				mine[k.F6] = slices.Clone(p[:pg.BlockSize])
			}
			return err
		})
	if err != nil {
		return err
	}
	for i := range mine {
		a, b := mine[i], zero
		if a == nil {
			a = zero
		}
		if at := i * pg.BlockSize; at < len(file) {
			b = file[at:min(at+pg.BlockSize, len(file))]
		}
		c.slruPage(kind, seg*pg.SLRUSegPages+uint32(i), a, b, nextMulti)
	}
	return nil
}

func (c *checker) slruPage(kind page.SLRU, number uint32, mine, theirs []byte, nextMulti uint32) {
	c.mu.Lock()
	c.report.SLRU++
	c.mu.Unlock()
	if string(mine) == string(theirs) {
		return
	}
	if kind == page.MultixactOffsets && number == nextMulti/multiPerPage && len(theirs) == len(mine) {
		a, b := slices.Clone(mine), slices.Clone(theirs)
		slot := nextMulti % multiPerPage * 4
		binary.LittleEndian.PutUint32(a[slot:], 0)
		binary.LittleEndian.PutUint32(b[slot:], 0)
		if string(a) == string(b) {
			c.lawful(lawNextMulti, 1)
			return
		}
	}
	at := 0
	for at < min(len(mine), len(theirs)) && mine[at] == theirs[at] {
		at++
	}
	c.differs(fmt.Sprintf("%s page %d", kind, number), "differs from byte %d on", at)
}
