package tenant

import (
	"context"
	"fmt"
	"strings"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// explain tells, of a key that was not as it should be, what the model knows of it, what another read gives and where it
// looked, and which layers there are: whether the fault has passed or stays is where the search for it begins.
func (s *script) explain(h *history, p pages, k page.Key, lsn page.LSN) string {
	var b strings.Builder
	fmt.Fprintf(&b, "the model's versions of %s at %s in %s:", k.Describe(), lsn, h.name)
	for _, e := range h.chain(k, lsn) {
		fmt.Fprintf(&b, " %s init=%v %.1q*%d", e.lsn, e.init, e.bytes, len(e.bytes))
	}
	var tr layer.Trace
	v, err := p.Get(layer.WithTrace(context.Background(), &tr), k, lsn)
	fmt.Fprintf(&b, "\nread again: %q, %v\n%s", v, err, tr.String())
	for a := h; a != nil; a = a.parent {
		tl := s.timeline(a)
		fmt.Fprintf(&b, "%s from %s to %s, durable to %s, cutoff %s; the model's cutoff %s, leases %v; layers:\n", a.name, a.initial, tl.LastRecordLSN(),
			tl.DiskConsistentLSN(), tl.Cutoff(), a.cutoff, a.leases)
		for _, d := range tl.Layers() {
			fmt.Fprintf(&b, "\t%s\n", d.Name())
		}
	}
	return b.String()
}
