package native

import (
	"encoding/binary"
	"fmt"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
	"github.com/stratapg/strata/pg/wal"
	"github.com/stratapg/strata/walredo"
)

// le is the byte order of PostgreSQL's own structures, in records and on pages.
var le = binary.LittleEndian

// change is the state of one call: the page at work and the record being applied to it.
type change struct {
	page bufpage.Page
	rec  *wal.Record
	blk  *wal.Block // the block reference in rec that names the page
	end  page.LSN   // end of the record: what pd_lsn becomes

	version   pg.Version
	checksums bool // hint bit changes are logged: XLogHintBitIsNeeded

	key   page.Key
	rel   page.RelTag
	blkno uint32
	isRel bool
	ops   *opTable

	based   bool // the page holds an image
	decoded bool // rec is the record at work
	stamped bool // the commit log page has a time behind it
	stamp   [stampSize]byte

	buf wal.Record // decoder state, reused
}

// applyFunc changes c.page as redo of c.rec does for the block reference c.blk. It sets pd_lsn to c.end
// where PostgreSQL does. After an error the page is thrown away, in whatever state.
type applyFunc func(c *change) error

// forget drops what belongs to the caller, before c goes back to the pool.
func (c *change) forget() {
	c.page, c.blk, c.rec = nil, nil, nil
	c.buf.Raw, c.buf.Main = nil, nil
	for i := range c.buf.Blocks {
		c.buf.Blocks[i] = wal.Block{}
	}
}

// record applies a record of PostgreSQL, as XLogReadBufferForRedo prepares it: an image is restored
// whatever the page's LSN; a block made anew starts from zeros; a record that the page has is skipped.
func (c *change) record(r *walredo.Record) error {
	c.rec = &c.buf
	if err := c.rec.Decode(c.version, r.Value.Bytes); err != nil {
		return fmt.Errorf("%w: %w", walredo.ErrCorrupt, err)
	}
	c.decoded = true
	c.rec.End = c.end
	if slru, _, _, ok := c.key.SLRUBlock(); ok && slru == page.CommitTs {
		if !c.based {
			return walredo.ErrNoBase
		}
		return c.commitTimestamps()
	}
	if c.blk = c.findBlock(); c.blk == nil {
		return corrupt("the record does not touch this block")
	}
	if c.blk.HasImage && c.blk.Apply {
		if err := c.restoreImage(); err != nil || c.rec.Rmgr != pg.RmGist {
			return err
		}
		return gistAfterImage(c)
	}
	apply := c.ops.find(c.rec.Rmgr, c.rec.Info)
	switch {
	case c.blk.WillInit:
		clear(c.page)
		c.based = true
	case !c.based:
		return walredo.ErrNoBase
	case c.page.IsNew():
		// PostgreSQL creates map pages on the way and reports any other as missing, except for hints.
		if c.rel.Fork != page.ForkVM && c.rel.Fork != page.ForkFSM && !c.isHint() {
			return corrupt("the page was never initialized")
		}
	case c.end <= c.page.LSN():
		return nil
	}
	if apply == nil {
		return walredo.ErrUnsupported
	}
	return apply(c)
}

// findBlock finds the block reference that names the requested page.
func (c *change) findBlock() *wal.Block {
	if !c.isRel {
		return nil
	}
	for i := range c.rec.Blocks {
		if b := &c.rec.Blocks[i]; b.Blkno == c.blkno && b.Rel == c.rel {
			return b
		}
	}
	return nil
}

func (c *change) restoreImage() error {
	if err := c.blk.RestoreImage(c.page); err != nil {
		return fmt.Errorf("%w: %w", walredo.ErrCorrupt, err)
	}
	if !c.page.IsNew() {
		c.page.SetLSN(c.end)
	}
	c.based = true
	return nil
}

func (c *change) isHint() bool {
	return c.rec.Rmgr == pg.RmXLOG && c.rec.Info&opMask == xlogFPIForHint
}

// block gives the block reference with the given id, or an error if the record has none.
func (c *change) block(id uint8) (*wal.Block, error) {
	b := c.rec.Block(id)
	if b == nil {
		return nil, corrupt("no block reference %d", id)
	}
	return b, nil
}

// main gives the record's main data if it has at least n bytes.
func (c *change) main(n int) ([]byte, error) {
	if len(c.rec.Main) < n {
		return nil, corrupt("main data of %d bytes, want %d", len(c.rec.Main), n)
	}
	return c.rec.Main, nil
}
