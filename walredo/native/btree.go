package native

import "github.com/stratapg/strata/pg"

// btreeOps are the operations of Btree.
func btreeOps(pg.Version) *ops { return new(ops) }
