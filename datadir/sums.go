package datadir

import (
	"context"
	"slices"
)

// sumChunk is how many sizes of relations are read at once.
const sumChunk = 8192

// DatabaseBlocks gives the number of blocks of all forks of a database's relations in one tablespace.
func (s *Snapshot) DatabaseBlocks(ctx context.Context, spc, db uint32) (uint64, error) {
	rels, err := s.Relations(ctx, spc, db)
	if err != nil {
		return 0, err
	}
	sum := uint64(0)
	for part := range slices.Chunk(rels, sumChunk) {
		sizes, err := s.RelSizes(ctx, part)
		if err != nil {
			return 0, err
		}
		for _, n := range sizes {
			sum += uint64(n)
		}
	}
	return sum, nil
}

// TotalBlocks gives the number of blocks of all relations of all databases: the logical size.
func (s *Snapshot) TotalBlocks(ctx context.Context) (uint64, error) {
	dbs, err := s.Databases(ctx)
	if err != nil {
		return 0, err
	}
	sum := uint64(0)
	for _, d := range dbs {
		n, err := s.DatabaseBlocks(ctx, d.Spc, d.DB)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}
