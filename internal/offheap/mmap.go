//go:build unix && !race

package offheap

import (
	"fmt"

	"golang.org/x/sys/unix"
)

func acquire(n int) ([]byte, error) {
	return unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
}

func release(b []byte) {
	if err := unix.Munmap(b); err != nil {
		panic(fmt.Sprintf("offheap: munmap of %d bytes: %v", len(b), err))
	}
}
