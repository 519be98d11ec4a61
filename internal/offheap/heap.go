//go:build !unix || race

package offheap

// pageSize is what areas on the heap are aligned to; no system that has no mmap needs more.
const pageSize = 4096

func acquire(n int) ([]byte, error) {
	raw := make([]byte, n+pageSize)
	at := int(-address(raw) & (pageSize - 1))
	return raw[at : at+n : at+n], nil
}

// release writes over the area, so that the race detector sees who still reads it.
func release(b []byte) {
	const freed = 0xdb
	b[0] = freed
	for n := 1; n < len(b); n *= 2 { // a copy is looked at as a whole, which takes a tenth of the time of single bytes
		copy(b[n:], b[:n])
	}
}
