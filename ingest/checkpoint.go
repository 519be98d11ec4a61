package ingest

import (
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/control"
)

// checkpoint is the CheckPoint struct as the running server would write it now: its counters are moved by
// every record that shows them used, as PostgreSQL's redo moves them.
type checkpoint struct {
	c      control.CheckPoint
	stored control.CheckPoint // what the store has
	neon   bool
}

// neonXidStep is what Neon's computes round the next transaction id up to, so that the pageserver need not
// store it with each transaction.
const neonXidStep = 1024

func (p *checkpoint) load(raw []byte, o Options) error {
	c, err := control.ParseCheckPoint(raw)
	if err != nil {
		return err
	}
	p.c, p.stored, p.neon = c, c, o.Flavour == pg.Neon
	return nil
}

// take gives the bytes to store, nil if nothing has changed since they were last taken.
func (p *checkpoint) take() []byte {
	if p.c == p.stored {
		return nil
	}
	p.stored = p.c
	return p.c[:]
}

// xidPrecedes compares transaction ids of which both are normal, modulo 2^32 (TransactionIdPrecedes).
func xidPrecedes(a, b uint32) bool {
	if a < pg.FirstNormalXid || b < pg.FirstNormalXid {
		return a < b
	}
	return int32(a-b) < 0
}

// multiPrecedes compares multixacts or member offsets, modulo 2^32.
func multiPrecedes(a, b uint32) bool { return int32(a-b) < 0 }

// advanceXid moves the next transaction id past one that was seen (AdvanceNextFullTransactionIdPastXid).
func (p *checkpoint) advanceXid(xid uint32) {
	next := uint32(p.c.NextXid())
	if xid < pg.FirstNormalXid || int32(xid-next) < 0 {
		return
	}
	p.advanceXidTo(xid + 1)
}

// advanceXidTo moves the next transaction id to at least next, whose epoch is the one that makes it nearest.
func (p *checkpoint) advanceXidTo(next uint32) {
	next = max(next, pg.FirstNormalXid)
	if p.neon {
		next = (next + neonXidStep - 1) &^ (neonXidStep - 1)
	}
	old := uint32(p.c.NextXid())
	if int32(next-old) <= 0 {
		return
	}
	epoch := p.c.NextXid() >> 32
	if next < old {
		epoch++
	}
	p.c.SetNextXid(epoch<<32 | uint64(next))
}

// fullXid gives the 64-bit form of a transaction id at most 2^32 behind the next one.
func (p *checkpoint) fullXid(xid uint32) (full uint64, ok bool) {
	epoch := p.c.NextXid() >> 32
	if xid > uint32(p.c.NextXid()) {
		if epoch == 0 {
			return 0, false
		}
		epoch--
	}
	return epoch<<32 | uint64(xid), true
}

// advanceMulti moves the next multixact and member offset forward (MultiXactAdvanceNextMXact).
func (p *checkpoint) advanceMulti(multi, offset uint32) {
	if multiPrecedes(p.c.NextMulti(), multi) {
		p.c.SetNextMulti(multi)
	}
	if multiPrecedes(p.c.NextMultiOffset(), offset) {
		p.c.SetNextMultiOffset(offset)
	}
}

func (p *checkpoint) setOldestXid(xid, db uint32) {
	p.c.SetOldestXid(xid)
	p.c.SetOldestXidDB(db)
}

func (p *checkpoint) setOldestMulti(multi, db uint32) {
	p.c.SetOldestMulti(multi)
	p.c.SetOldestMultiDB(db)
}

// online takes over an online checkpoint, whose counters are from its start: the server may be further. Object
// ids are believed from XLOG_NEXTOID alone (xlog_redo).
func (p *checkpoint) online(c control.CheckPoint) {
	old := p.c
	p.c = c
	p.c.SetNextXid(max(old.NextXid(), c.NextXid()))
	p.c.SetNextOid(old.NextOid())
	p.c.SetNextMulti(old.NextMulti())
	p.c.SetNextMultiOffset(old.NextMultiOffset())
	p.advanceMulti(c.NextMulti(), c.NextMultiOffset())
	if !multiPrecedes(old.OldestMulti(), c.OldestMulti()) {
		p.setOldestMulti(old.OldestMulti(), old.OldestMultiDB())
	}
	if !xidPrecedes(old.OldestXid(), c.OldestXid()) {
		p.setOldestXid(old.OldestXid(), old.OldestXidDB())
	}
	if c.NewestCommitTsXid() != 0 {
		p.committed(old.NewestCommitTsXid())
	}
}

// neonCheckpoint takes over what Neon's pageserver takes from a checkpoint record, so that a compute gets
// the same control file: the oldest and the oldest active transaction id, and in redo whether the last
// record was a shutdown.
func (p *checkpoint) neonCheckpoint(c control.CheckPoint, end page.LSN, shutdown bool, prepared []uint64) {
	if int32(c.OldestXid()-p.c.OldestXid()) > 0 {
		p.c.SetOldestXid(c.OldestXid())
	}
	active, redo := c.OldestActiveXid(), page.LSN(0)
	if shutdown {
		redo = end
		if active == 0 {
			active = uint32(p.c.NextXid())
			for _, x := range prepared {
				if int32(uint32(x)-active) < 0 {
					active = uint32(x)
				}
			}
		}
	}
	p.c.SetOldestActiveXid(active)
	p.c.SetRedo(redo)
}

// committed moves the upper bound of commit timestamps forward (TransactionTreeSetCommitTsData).
func (p *checkpoint) committed(newest uint32) {
	if xidPrecedes(p.c.NewestCommitTsXid(), newest) {
		p.c.SetNewestCommitTsXid(newest)
	}
}
