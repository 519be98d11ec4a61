package native

import "github.com/stratapg/strata/pg"

// opMask is the part of xl_info that belongs to the resource manager.
const opMask = 0xF0

// ops are the functions of one resource manager by the upper half of xl_info. nil means no redo here.
type ops [16]applyFunc

// opTable has the functions of all resource managers of one version and flavour.
type opTable [256]*ops

func (t *opTable) find(r pg.Rmgr, info uint8) applyFunc {
	if o := t[r]; o != nil {
		return o[info>>4]
	}
	return nil
}

// set names the function of an operation.
func (o *ops) set(op uint8, f applyFunc) { o[op>>4] = f }

// setInit names the function of an operation that may have the INIT_PAGE bit (0x80) beside its code.
func (o *ops) setInit(op uint8, f applyFunc) { o.set(op, f); o.set(op|heapInitPage, f) }

// nothing is redo of a record that leaves its block as it is.
func nothing(*change) error { return nil }

// The tables, built once and never changed.
var opTables = func() (t [2][pg.V17 + 1]*opTable) {
	for _, v := range []pg.Version{pg.V14, pg.V15, pg.V16, pg.V17} {
		for _, f := range []pg.Flavour{pg.Stock, pg.Neon} {
			t[f][v] = newOpTable(v, f)
		}
	}
	return t
}()

// opsOf gives the table of a version and flavour, nil if there is none.
func opsOf(v pg.Version, f pg.Flavour) *opTable {
	if v < 0 || v > pg.V17 || int(f) >= len(opTables) {
		return nil
	}
	return opTables[f][v]
}

func newOpTable(v pg.Version, f pg.Flavour) *opTable {
	layout := &stockHeap
	if f == pg.Neon && v <= pg.V15 {
		layout = &neonHeap15
	}
	t := &opTable{
		pg.RmXLOG:    xlogOps(),
		pg.RmHeap:    heapOps(layout),
		pg.RmHeap2:   heap2Ops(v, layout),
		pg.RmBtree:   (*ops)(&btreeOps),
		pg.RmSeq:     seqOps(),
		pg.RmHash:    hashOps(v),
		pg.RmGist:    gistOps(v),
		pg.RmSPGist:  spgistOps(v),
		pg.RmGin:     (*ops)(&ginOps),
		pg.RmBRIN:    brinOps(),
		pg.RmGeneric: genericOps(),
	}
	if f == pg.Neon && v >= pg.V16 {
		t[pg.RmNeon] = neonOps(&neonHeap16)
	}
	return t
}
