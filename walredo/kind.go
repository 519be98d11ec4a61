package walredo

import (
	"fmt"

	"github.com/stratapg/strata/pg"
)

// Kind is what redo must know of a cluster beyond its pages and records. The protocol of redo processes
// does not carry it, so that a process serves one kind.
type Kind struct {
	Version   pg.Version
	Flavour   pg.Flavour
	Checksums bool // as in Request
}

// Kind gives the kind of cluster that the request is about.
func (r *Request) Kind() Kind {
	return Kind{Version: r.Version, Flavour: r.Flavour, Checksums: r.Checksums}
}

// String gives for example "PostgreSQL 15 stock with checksums".
func (k Kind) String() string {
	s := fmt.Sprintf("PostgreSQL %d %s", k.Version, k.Flavour)
	if k.Checksums {
		s += " with checksums"
	}
	return s
}
