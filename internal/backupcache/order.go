package backupcache

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/stratapg/strata/virtualfile"
)

// The file that keeps in which order backups were used, over restarts: the numbers of their files, the one used longest ago
// first; doc.go has the picture. It is no part of any promise: without it those made last are taken for those used last.
const (
	orderName   = "order"
	orderMagic  = "STRABORD"
	orderFooter = 8
	maxOrder    = int64(len(orderMagic) + 8*maxEntries + orderFooter)
	// orderEvery is how seldom it is written while the cache is open; Close writes it, too. A crash loses what was used since.
	orderEvery = time.Minute
)

// usedLocked notes that the order has changed, and has it written if that is due.
func (c *Cache) usedLocked() {
	c.mu.reordered = true
	if now := c.o.Clock(); !now.Before(c.mu.orderDue) {
		c.mu.orderDue = now.Add(orderEvery)
		_ = c.tasks.Go(func(context.Context) { c.keepOrder() }) // refused, Close writes it
	}
}

// keepOrder writes the order if it has changed.
func (c *Cache) keepOrder() {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	c.mu.Lock()
	changed := c.mu.reordered
	c.mu.reordered = false
	b := make([]byte, 0, len(orderMagic)+8*c.mu.recent.Len()+orderFooter)
	b = append(b, orderMagic...)
	for at := c.mu.recent.Back(); at != nil; at = at.Prev() {
		b = binary.BigEndian.AppendUint64(b, at.Value.(*entry).number)
	}
	c.mu.Unlock()
	if !changed {
		return
	}
	b = binary.BigEndian.AppendUint64(b, xxhash.Sum64(b))
	if err := virtualfile.WriteFileAtomic(c.o.FS, c.path(orderName), b); err != nil {
		c.o.Logger.Warn("the order of use of cached base backups could not be kept", "file", c.path(orderName), "error", err)
	}
}

var errOrder = errors.New("no order of cached base backups")

// readOrder gives each number's place in the order that was kept, none if there is no such file.
func (c *Cache) readOrder() (places map[uint64]int, err error) {
	b, err := virtualfile.ReadFile(c.o.FS, c.path(orderName), maxOrder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	end := len(b) - orderFooter
	if end < len(orderMagic) || end%8 != 0 || string(b[:len(orderMagic)]) != orderMagic || xxhash.Sum64(b[:end]) != binary.BigEndian.Uint64(b[end:]) {
		return nil, fmt.Errorf("%w: %d bytes that are cut or damaged", errOrder, len(b))
	}
	places = make(map[uint64]int, end/8)
	for at := len(orderMagic); at < end; at += 8 {
		places[binary.BigEndian.Uint64(b[at:])] = at
	}
	return places, nil
}
