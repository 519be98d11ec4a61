//go:build !race

package offheap

import "golang.org/x/sys/unix"

// advise asks for huge pages under large areas. The system may refuse, which changes nothing but speed.
func advise(b []byte) {
	if len(b) >= hugeArea {
		_ = unix.Madvise(b, unix.MADV_HUGEPAGE)
	}
}
