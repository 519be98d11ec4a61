package native

// Operations of the XLOG resource manager that touch blocks (catalog/pg_control.h).
const (
	xlogFPIForHint = 0xA0
	xlogFPI        = 0xB0
)

func xlogOps() *ops {
	o := new(ops)
	o.set(xlogFPI, fpiWithoutImage)
	// Without full_page_writes a hint is logged without an image, and changes nothing, not even pd_lsn.
	o.set(xlogFPIForHint, nothing)
	return o
}

// fpiWithoutImage refuses a full-page image record that has none: one that has is restored before.
func fpiWithoutImage(*change) error { return corrupt("a full-page image without an image") }
