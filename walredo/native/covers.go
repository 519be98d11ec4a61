package native

import (
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/walredo"
)

// Covers reports whether there is redo here for records such as r, by its type alone. Values that are no
// records of PostgreSQL are always covered. What is no record at all counts as covered: Redo has the better
// words for it.
func Covers(k walredo.Kind, r *walredo.Record) bool {
	if r.Value.Kind != page.KindPostgres || len(r.Value.Bytes) < recordHead {
		return true
	}
	t := opsOf(k.Version, k.Flavour)
	if t == nil {
		return false
	}
	rmgr, info := headOf(r.Value.Bytes)
	return t.find(rmgr, info) != nil
}

// recordHead is the length of a record's fixed header (XLogRecord).
const recordHead = 24
