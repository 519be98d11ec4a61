package strata

import (
	"bytes"
	"context"
	"sync"

	"github.com/stratapg/strata/page"
)

// shardAhead is how many values of each shard a read of many keys has in memory.
const shardAhead = 64

// shardValue is what a shard gives of one key.
type shardValue struct {
	key   page.Key
	value []byte
	err   error
}

// shardStream is what one shard gives, in order.
type shardStream struct {
	values chan shardValue
	next   shardValue
	err    error // set before values is closed
}

// advance takes the next value; more is false at the end.
func (s *shardStream) advance() (more bool, err error) {
	v, more := <-s.values
	if !more {
		return false, s.err
	}
	s.next = v
	return true, nil
}

// GetVectored calls fn for every key of keys that has a version at lsn, in ascending order, as Timeline.GetVectored does.
// All shards that have any of them read at once.
func (tl *ShardedTimeline) GetVectored(ctx context.Context, keys page.Set, lsn page.LSN, fn func(k page.Key, value []byte, err error) error) error {
	shares := make(map[int]page.Set, len(tl.parts))
	for n, p := range tl.parts {
		if share := p.Shard().Share(keys); !share.Empty() {
			shares[n] = share
		}
	}
	if len(shares) == 1 {
		for n, share := range shares {
			return tl.parts[n].GetVectored(ctx, share, lsn, owned(tl.parts[n], fn))
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	var streams []*shardStream
	for n, share := range shares {
		s := &shardStream{values: make(chan shardValue, shardAhead)}
		streams = append(streams, s)
		// Ended by cancel at the latest, and waited for.
		wg.Go(func() { s.read(ctx, tl.parts[n], share, lsn) })
	}
	return merge(streams, fn)
}

// owned leaves out what a shard gives beside its own keys.
func owned(p *Timeline, fn func(k page.Key, value []byte, err error) error) func(k page.Key, value []byte, err error) error {
	shard := p.Shard()
	return func(k page.Key, value []byte, err error) error {
		if !shard.Owns(k) {
			return nil
		}
		return fn(k, value, err)
	}
}

func (s *shardStream) read(ctx context.Context, p *Timeline, keys page.Set, lsn page.LSN) {
	defer close(s.values)
	s.err = p.GetVectored(ctx, keys, lsn, owned(p, func(k page.Key, value []byte, err error) error {
		select {
		case s.values <- shardValue{k, bytes.Clone(value), err}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}))
}

// merge gives the values of all streams in the order of their keys, each of which is in one of them.
func merge(streams []*shardStream, fn func(k page.Key, value []byte, err error) error) error {
	open := streams[:0]
	for _, s := range streams {
		more, err := s.advance()
		if err != nil {
			return err
		}
		if more {
			open = append(open, s)
		}
	}
	for len(open) > 0 {
		least := 0
		for i, s := range open {
			if s.next.key.Less(open[least].next.key) {
				least = i
			}
		}
		s := open[least]
		if err := fn(s.next.key, s.next.value, s.next.err); err != nil {
			return err
		}
		more, err := s.advance()
		if err != nil {
			return err
		}
		if !more {
			open = append(open[:least], open[least+1:]...)
		}
	}
	return nil
}
