package index_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/internal/upload/index"
	"github.com/stratapg/strata/page"
)

const heatmap = `{"generation":7,"timelines":[{"timeline_id":"11223344556677889900aabbccddeeff","layers":[
 {"name":"000000000000000000000000000000000000-000000067F00000005000040000000000010__0000000001500000","metadata":{"file_size":32768,"generation":2,"shard":"0104"},"access_time":1700000000,"cold":false},
 {"name":"000000000000000000000000000000000000-FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF__0000000001500001-0000000001600009","metadata":{"file_size":24576,"generation":3,"xxh64":"00000000000000ff","trailer":true},"access_time":5,"cold":true}]}],
 "upload_period_ms":60000}`

// TestHeatmap reads a document in Neon's form, and writes it with the same content.
func TestHeatmap(t *testing.T) {
	h, err := index.ParseHeatmap([]byte(heatmap))
	require.NoError(t, err)
	require.Equal(t, uint32(7), h.Generation)
	require.Equal(t, time.Minute, h.Period)
	require.Len(t, h.Timelines, 1)
	require.Len(t, h.Timelines[0].Layers, 2)
	image := h.Timelines[0].Layers[0]
	require.Equal(t, page.LSN(0x1500000), image.Desc.LSNs.Start)
	require.Equal(t, "0104", image.Shard)
	require.Equal(t, int64(1700000000), image.Used.Unix())
	layers, bytes := h.Warm()
	require.Equal(t, 1, layers)
	require.EqualValues(t, 32768, bytes)
	b, err := h.Encode()
	require.NoError(t, err)
	require.JSONEq(t, heatmap, string(b))
	require.Positive(t, index.CompareHeat(&h.Timelines[0].Layers[0], &h.Timelines[0].Layers[1]), "cold ones first, as Neon does")

	h, err = index.ParseHeatmap([]byte(`{"generation":1,"timelines":[{"timeline_id":"11223344556677889900aabbccddeeff","layers":[]}]}`))
	require.NoError(t, err)
	require.Zero(t, h.Period)
	b, err = h.Encode()
	require.NoError(t, err)
	require.JSONEq(t, `{"generation":1,"timelines":[{"timeline_id":"11223344556677889900aabbccddeeff","layers":[]}],"upload_period_ms":null}`, string(b))
	for _, bad := range []string{"", "[]", `{"timelines":[{"timeline_id":"1"}]}`, `{"timelines":[{"timeline_id":"11223344556677889900aabbccddeeff","layers":[{"name":"x","metadata":{"file_size":1}}]}]}`,
		`{"timelines":[{"timeline_id":"11223344556677889900aabbccddeeff","layers":[{"name":"000000000000000000000000000000000000-FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF__0000000001500001-0000000001600009"}]}]}`} {
		_, err := index.ParseHeatmap([]byte(bad))
		require.Error(t, err, bad)
	}
}
