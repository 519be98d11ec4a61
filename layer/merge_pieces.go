package layer

import (
	"context"
	"runtime"

	"github.com/stratapg/strata/page"
)

// Piece is a stretch of a layer's entries.
type Piece struct {
	First page.Key
	Bytes int64 // of values, with their headers
}

// piecesYield is how many leaves are looked at before others get the processor.
const piecesYield = 64

// Pieces divides what the layer, a delta, has of some keys into pieces of about so many bytes, or of a leaf of the index where that
// holds more. It looks at the first entry of each leaf only, which takes a twentieth of a Merge of places. The last
// piece may count what lies behind the keys in its leaf.
func (r *Reader) Pieces(ctx context.Context, keys page.Range, bytes int64) (pieces []Piece, err error) {
	blocks := scanBlocks{index: stretch{r: r, limit: r.end(), ahead: maxMergeIndex}}
	defer blocks.index.release()
	var cur treeCursor
	defer cur.release()
	cur.init(&blocks, r.sum.indexRoot, r.keyLen)
	from := deltaKey(&keys.Start, 0)
	key := from.bytes()
	if err := cur.seek(ctx, key[:r.keyLen]); err != nil {
		return nil, err
	}
	at, more := int64(dataStart), true
	for n := 1; more; n++ {
		if leaf := &cur.path[0]; leaf.i < leaf.node.n {
			first, start, err := r.firstOf(leaf)
			if err != nil {
				return nil, err
			}
			last := len(pieces) - 1
			if last >= 0 && (start <= at || first.Less(pieces[last].First)) {
				return nil, r.corrupt(leaf.blk, "%s at offset %d is out of order", first, start)
			}
			if !first.Less(keys.End) {
				return endPiece(pieces, start-at), nil
			}
			if last < 0 || start-at >= bytes {
				pieces, at = append(endPiece(pieces, start-at), Piece{First: first}), start
			}
		}
		if n%piecesYield == 0 {
			runtime.Gosched()
		}
		if more, err = cur.nextLeaf(ctx); err != nil {
			return nil, err
		}
	}
	return endPiece(pieces, r.dataEnd()-at), ctx.Err()
}

// endPiece sets the size of the last piece, if there is one.
func endPiece(pieces []Piece, bytes int64) []Piece {
	if n := len(pieces); n > 0 {
		pieces[n-1].Bytes = bytes
	}
	return pieces
}

// firstOf gives the key and the value's place of the entry that a cursor is at in a leaf.
func (r *Reader) firstOf(leaf *treePlace) (page.Key, int64, error) {
	var key [maxKeyLen]byte
	leaf.node.copyKey(key[:r.keyLen], leaf.i)
	start := int64(leaf.node.value(leaf.i) >> 1)
	if start < dataStart || start >= r.dataEnd() {
		return page.Key{}, 0, r.corrupt(leaf.blk, "value at offset %d, values lie in [%d, %d)", start, int64(dataStart), r.dataEnd())
	}
	return page.KeyFromBytes(key[:]), start, nil
}
