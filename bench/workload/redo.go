package workload

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"time"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/wal"
	"github.com/stratapg/strata/walredo"
	"github.com/stratapg/strata/walredo/native"
	"github.com/stratapg/strata/walredo/pool"
)

// Requests of redo, as large as those of Neon's benchmark: a page with two long tuples, and a page full of short ones.
const (
	shortRecords, shortTuple   = 2, 420
	mediumRecords, mediumTuple = 226, 5
	redoRound                  = 200 // requests of a round, by all clients together
	redoBuffer                 = 16 << 10
)

// Insertions is a request for a page into which so many tuples are inserted, each of so many bytes behind its header.
func Insertions(n, size int) *walredo.Request {
	const (
		heapInsert, initPage   = 0x00, 0x80
		hasData, willInit      = 0x20, 0x40
		shortMain, tupleHeader = 255, 24
	)
	le := binary.LittleEndian
	r := &walredo.Request{Key: Relation.Block(0), Version: pg.V17, Flavour: pg.Stock}
	for i := range n {
		h := wal.RecordHeader{Xid: 700, Prev: firstLSN + page.LSN(64*i), Rmgr: pg.RmHeap, Info: heapInsert}
		flags := byte(hasData)
		if i == 0 {
			h.Info, flags = heapInsert|initPage, flags|willInit
		}
		tuple := []byte{2, 0, 2, 8, tupleHeader} // two columns, xmax invalid
		for j := range size {
			tuple = append(tuple, byte(i*31+j))
		}
		body := le.AppendUint16([]byte{0, flags}, uint16(len(tuple)))
		for _, v := range []uint32{Relation.Spc, Relation.DB, Relation.Rel, 0} {
			body = le.AppendUint32(body, v)
		}
		body = append(append(body, shortMain, 3), tuple...)
		body = append(le.AppendUint16(body, uint16(i+1)), 0)
		lsn := firstLSN + page.LSN(64*(i+1))
		r.Records = append(r.Records, walredo.Record{LSN: lsn, Value: page.Value{Kind: page.KindPostgres, WillInit: i == 0, Bytes: wal.NewRecord(h, body)}})
		r.LSN = lsn
	}
	return r
}

// Redo builds pages from records, natively and, where a program is named, in one process of it, with as many clients as depths say. A ping is a
// question to the process with nothing to do.
func (f Folders) Redo(s Size) (out []Workload) {
	requests := []struct {
		name string
		req  *walredo.Request
	}{{"ping", nil}, {"short", Insertions(shortRecords, shortTuple)}, {"medium", Insertions(mediumRecords, mediumTuple)}}
	for _, r := range requests {
		if r.req != nil {
			out = append(out, redoWorkload("native/"+r.name, 1, r.req, func() (redoer, error) { return redoer{Redoer: native.New()}, nil }))
		}
		if f.Redoer == "" {
			continue
		}
		for _, n := range s.Clients {
			out = append(out, redoWorkload("pool/"+r.name, n, r.req, func() (redoer, error) {
				p, err := pool.New(pool.Options{Worker: pool.Native(f.Redoer), Processes: 1})
				return redoer{p, p}, err
			}))
		}
	}
	return out
}

// redoer is one that may be a pool.
type redoer struct {
	walredo.Redoer
	pool *pool.Pool
}

func redoWorkload(name string, clients int, req *walredo.Request, open func() (redoer, error)) Workload {
	return Workload{
		Name:    fmt.Sprintf("Redo/%s/clients=%d", name, clients),
		Metrics: []Metric{{"µs/op", false}, {"redos/s", true}},
		Prepare: func(ctx context.Context, _ string) (j Job, err error) {
			r, err := open()
			if err != nil {
				return j, err
			}
			j.Close = r.Close
			once := func(ctx context.Context, buf []byte) (err error) {
				_, err = r.Redo(ctx, buf, req)
				return err
			}
			if req == nil {
				once = func(ctx context.Context, _ []byte) error {
					return r.pool.Ping(ctx, walredo.Kind{Version: pg.V17, Flavour: pg.Stock})
				}
			} else if p, err := r.Redo(ctx, nil, req); err != nil {
				return j, errors.Join(err, r.Close())
			} else {
				j.Check = crc32.ChecksumIEEE(p)
			}
			j.Round = func(ctx context.Context) ([]float64, error) {
				each := max(redoRound/clients, 1)
				took, err := together(ctx, clients, each, once)
				n := float64(each * clients)
				return []float64{micros(took) * float64(clients) / n, n / took.Seconds()}, err
			}
			return j, nil
		},
	}
}

// together has clients do something so many times each, and gives the time until the last has ended.
func together(ctx context.Context, clients, each int, once func(ctx context.Context, buf []byte) error) (time.Duration, error) {
	begin := time.Now()
	errs := make([]error, clients)
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			buf := make([]byte, 0, redoBuffer)
			for i := 0; i < each && errs[c] == nil; i++ {
				errs[c] = once(ctx, buf)
			}
		})
	}
	all.Wait()
	return time.Since(begin), errors.Join(errs...)
}
