package worker

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/walredo/native"
	"github.com/stratapg/strata/walredo/walredotest"
	"github.com/stratapg/strata/walredo/wire"
)

// BenchmarkServe serves requests that are all there already, so that what it takes above the redo itself is what the
// protocol costs.
func BenchmarkServe(b *testing.B) {
	for name, req := range walredotest.Requests(b) {
		rel, block, _ := req.Key.RelBlock()
		one := wire.AppendBegin(nil, rel, block)
		if req.Base != nil {
			one = append(wire.AppendPushHead(one, rel, block), req.Base...)
		}
		for _, r := range req.Records {
			one = append(wire.AppendApplyHead(one, r.LSN, len(r.Value.Bytes)), r.Value.Bytes...)
		}
		one = wire.AppendGet(one, rel, block)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(one)))
			const batch = 256
			all, in := bytes.Repeat(one, batch), bytes.NewReader(nil)
			o := Options{Kind: req.Kind(), Redoer: native.New()}
			b.ReportAllocs()
			for n := 0; n < b.N; n += batch {
				in.Reset(all[:len(one)*min(batch, b.N-n)])
				require.NoError(b, Serve(context.Background(), in, io.Discard, o))
			}
		})
	}
}
