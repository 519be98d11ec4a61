package manifest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// TestChainsOfDeltas: they are kept over reopening and rewriting, and go with the layer; nothing is read that cannot be. A
// file without is of the version that older programs know.
func TestChainsOfDeltas(t *testing.T) {
	for _, minRewrite := range []int64{1, DefaultMinRewrite} {
		l := newReopened(t, minRewrite)
		d := l0(0x2377B21, 0x2400001)
		publish := l.publish
		publish(&Edit{Add: []layer.Desc{d}})
		require.EqualValues(t, formatVersion, l.version)
		chains := Chains{bare(d), page.Chains{Rest: 1, Long: []page.Chain{{Keys: keysFrom(5, 10), Records: 7}, {Keys: keysFrom(10, 11), Records: 9}}}}
		publish(&Edit{Chains: []Chains{chains}})
		require.EqualValues(t, chainsVersion, l.version)
		publish(&Edit{Remote: []Remote{{bare(d), 7, 0}}})
		require.Equal(t, []Chains{chains}, l.State().Chains)
		for _, x := range []layer.Desc{l0(8, 17), sampleState().Layers[0]} {
			_, err := l.Publish(&Edit{Chains: []Chains{{Layer: bare(x)}}})
			require.ErrorContains(t, err, "no such delta")
		}
		publish(&Edit{Remove: []layer.Desc{d}})
		publish(&Edit{Add: []layer.Desc{d}})
		require.Empty(t, l.State().Chains, "a new layer of that name begins anew")
		require.NoError(t, l.Close())
	}
}

func TestChainsThatCannotBe(t *testing.T) {
	for want, c := range map[string]page.Chains{
		"too many":         {Rest: page.MaxChain + 1},
		"after keys up to": {Long: []page.Chain{{Keys: keysFrom(5, 10), Records: 7}, {Keys: keysFrom(9, 11), Records: 9}}},
		"0 records at":     {Long: []page.Chain{{Keys: keysFrom(5, 5)}}},
	} {
		e := &Edit{Chains: []Chains{{bare(l0(8, 17)), c}}}
		_, err := decodeChange(appendChange(nil, e), grammarOf(chainsVersion))
		require.ErrorContains(t, err, want)
		_, err = decodeChange(appendChange(nil, e), grammarOf(remoteVersion))
		require.ErrorContains(t, err, "item 12 is unknown")
	}
}
