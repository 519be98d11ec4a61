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
	for i := range b {
		b[i] = freed
	}
}
