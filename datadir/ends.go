package datadir

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/stratapg/strata/page"
)

// TransactionEnd is a WAL record that commits or aborts a transaction, prepared ones included.
type TransactionEnd struct {
	Record RecordSpan
	// Micros is the record's time in microseconds since 2000-01-01.
	Micros  int64
	Aborted bool
}

// Time is the record's time.
func (e TransactionEnd) Time() time.Time { return time.UnixMicro(e.Micros + postgresEpoch*1e6).UTC() }

// postgresEpoch is the second at which PostgreSQL's clock stands at 0: 2000-01-01.
const postgresEpoch = 946_684_800

// splitIndex gives the part of an index that has the ends of transactions, if any, and that with the records.
func splitIndex(b []byte) (ends, records []byte, err error) {
	switch {
	case len(b) >= recordIndexHeader && b[0] == recordIndexVersion:
		return nil, b[recordIndexHeader:], nil
	case len(b) < recordIndexHeader || b[0] != recordIndexWithEnds:
		return nil, nil, fmt.Errorf("%w: record index of %d bytes in an unknown format", ErrCorrupt, len(b))
	}
	rest := b[recordIndexHeader:]
	size, n := binary.Uvarint(rest)
	if n <= 0 || size > uint64(len(rest)-n) {
		return nil, nil, fmt.Errorf("%w: record index of %d bytes is too short for the ends of transactions", ErrCorrupt, len(b))
	}
	return rest[n:][:size], rest[n:][size:], nil
}

// eachEnd calls fn for the number of each record that ends a transaction, until fn returns false.
func eachEnd(ends []byte, fn func(record uint64, micros int64, aborted bool) bool) error {
	var record uint64
	var micros int64
	for first := true; len(ends) > 0; first = false {
		c, n := binary.Uvarint(ends)
		if n <= 0 {
			return fmt.Errorf("%w: ends of transactions break off", ErrCorrupt)
		}
		d, k := binary.Varint(ends[n:])
		if k <= 0 || !first && c>>1 == 0 || record+c>>1 < record {
			return fmt.Errorf("%w: ends of transactions break off", ErrCorrupt)
		}
		ends = ends[n+k:]
		record, micros = record+c>>1, micros+d
		if !fn(record, micros, c&1 != 0) {
			return nil
		}
	}
	return nil
}

// EachTransactionEnd calls fn for the records of an encoded index that end transactions, in order, until fn returns
// false.
func EachTransactionEnd(b []byte, fn func(TransactionEnd) bool) error {
	ends, _, err := splitIndex(b)
	if err != nil {
		return err
	}
	var all []TransactionEnd
	var at []uint64
	if err := eachEnd(ends, func(record uint64, micros int64, aborted bool) bool {
		all, at = append(all, TransactionEnd{Micros: micros, Aborted: aborted}), append(at, record)
		return true
	}); err != nil {
		return err
	}
	n, i := uint64(0), 0
	stopped := false
	err = EachRecord(b, func(r RecordSpan) bool {
		if i < len(all) && at[i] == n {
			all[i].Record = r
			stopped = !fn(all[i])
			i++
		}
		n++
		return !stopped && i < len(all)
	})
	if err == nil && !stopped && i < len(all) {
		err = fmt.Errorf("%w: record index has %d records, transaction %d ends with record %d", ErrCorrupt, n, i, at[i])
	}
	return err
}

// LaterEnd is what Snapshot.EndAfter finds.
type LaterEnd struct {
	// TransactionEnd is the first whose time is later; Found says that there is one.
	TransactionEnd
	Found bool
	// Earlier says that there are ends of transactions before it.
	Earlier bool
	// Begin is where the index of records reaches back to, 0 if there is none. Below it, times are not known.
	Begin page.LSN
}

var errFound = errors.New("found") // ends a read

// EndAfter finds the first record above from, in the order of LSNs, that ends a transaction at a later time. It
// looks into the batches whose first record ends at batch or above, and at or below the view's LSN.
func (s *Snapshot) EndAfter(ctx context.Context, batch, from page.LSN, micros int64) (found LaterEnd, err error) {
	keys := page.Range{Start: page.RecordsKey(batch), End: page.RecordsKey(s.lsn).Next()}
	err = s.r.GetVectored(ctx, page.NewSet(keys), s.lsn, func(k page.Key, b []byte, err error) error {
		if err == nil {
			err = found.look(b, from, s.lsn, micros)
		}
		if err != nil {
			return s.named(k, err)
		}
		if found.Found {
			return errFound
		}
		return nil
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return found, err
}

// look looks through the index of one batch.
func (f *LaterEnd) look(b []byte, from, to page.LSN, micros int64) error {
	ends, _, err := splitIndex(b)
	if err != nil {
		return err
	}
	if f.Begin == 0 {
		f.Begin = page.LSN(binary.BigEndian.Uint64(b[1:]))
	}
	later, any := false, false
	err = eachEnd(ends, func(_ uint64, m int64, _ bool) bool { any, later = true, m > micros; return !later })
	if err != nil || !later {
		f.Earlier = f.Earlier || any
		return err
	}
	return EachTransactionEnd(b, func(e TransactionEnd) bool {
		if e.Record.End > to || e.Record.End <= from {
			return e.Record.End <= from
		}
		if e.Micros > micros {
			f.TransactionEnd, f.Found = e, true
			return false
		}
		f.Earlier = true
		return true
	})
}
