package native

import (
	"fmt"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/xlogrec"
	"github.com/stratapg/strata/walredo"
)

// commitTimestamps writes a commit's time and origin into a page of pg_commit_ts, for those of the
// transaction and its subtransactions that are on the page (TransactionTreeSetCommitTsData). The record is
// that of the commit, which names no block.
func (c *change) commitTimestamps() error {
	n, err := c.slruPage(page.CommitTs)
	if err != nil {
		return err
	}
	op := c.rec.Info & xlogrec.XactOpMask
	if c.rec.Rmgr != pg.RmXact || op != xlogrec.XactCommit && op != xlogrec.XactCommitPrepared {
		return corrupt("no commit, for a page of commit timestamps")
	}
	x, err := xlogrec.ParseXactEnd(c.version, c.rec.Info, c.rec.Main)
	if err != nil {
		return fmt.Errorf("%w: %w", walredo.ErrCorrupt, err)
	}
	xid := c.rec.Xid
	if op == xlogrec.XactCommitPrepared {
		xid = x.TwoPhaseXid
	}
	here := 0
	for i := -1; i < x.Subxacts.Len(); i++ {
		if i >= 0 {
			xid = x.Subxacts.At(i)
		}
		if xid/xlogrec.CommitTsPerPage != n {
			continue
		}
		here++
		e := c.page[xid%xlogrec.CommitTsPerPage*xlogrec.CommitTsSize:]
		le.PutUint64(e, uint64(x.CommitTime()))
		le.PutUint16(e[8:], c.rec.Origin)
	}
	if here == 0 {
		return corrupt("none of the transactions of commit %d is on page %d of commit timestamps", c.rec.Xid, n)
	}
	return nil
}
