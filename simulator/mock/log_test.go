package mock

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLargeRecords: records of a trace may be as large as PostgreSQL's, and LSNs are told of all of them.
func TestLargeRecords(t *testing.T) {
	l := newLog(1000, 0)
	ends := []uint64{}
	at := uint64(1000)
	for i := range uint32(2<<chunkBits + 10) {
		size := uint32(1<<30) - i%5
		l.follow(1)
		l.append(size, false)
		at += uint64(size)
		ends = append(ends, at)
	}
	for i, end := range ends {
		rec := uint32(i)
		require.EqualValues(t, end, l.lsn(rec))
		require.Equal(t, int64(1<<30-rec%5), l.size(rec))
		require.Equal(t, rec+1, l.after(l.lsn(rec)))
		require.Equal(t, rec, l.after(l.lsn(rec)-1))
	}
}
