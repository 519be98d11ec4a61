package partitioned

import (
	"math"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestRatios compares with numbers of any size.
func TestRatios(t *testing.T) {
	number := func(t *rapid.T, name string, least int64) int64 {
		return rapid.OneOf(rapid.Int64Range(least, 9), rapid.Int64Range(least, math.MaxInt64), rapid.Int64Range(math.MaxInt64-2, math.MaxInt64)).Draw(t, name)
	}
	product := func(a, b int64) *big.Int { return new(big.Int).Mul(big.NewInt(a), big.NewInt(b)) }
	rapid.Check(t, func(t *rapid.T) {
		a, b, c, d := number(t, "a", 0), number(t, "b", 0), number(t, "c", 1), number(t, "d", 0)
		require.Equal(t, product(a, b).Cmp(product(c, d)) < 0, lessProduct(a, b, c, d))
		want := new(big.Int).Div(product(a, b), big.NewInt(c))
		if !want.IsInt64() {
			want.SetInt64(math.MaxInt64)
		}
		require.Equal(t, want.Int64(), mulDiv(a, b, c))
	})
}
