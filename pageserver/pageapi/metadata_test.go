package pageapi

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pageserver/pageapi/pb"
)

// FuzzPlace: metadata either name a place, and then its own text does so too, or are refused as InvalidArgument.
func FuzzPlace(f *testing.F) {
	tenant, timeline := page.TenantID{1, 2, 3}.String(), page.TimelineID{4, 5, 6}.String()
	f.Add(tenant, timeline, "0000")
	f.Add(tenant, timeline, "0304")
	f.Add(tenant+"-0304", timeline, "0304")
	f.Add("", timeline, "0400")
	f.Add(tenant, "zz", "00000")
	f.Fuzz(func(t *testing.T, tenant, timeline, shard string) {
		p, err := parsePlace(metadata.Pairs(TenantKey, tenant, TimelineKey, timeline, ShardKey, shard))
		if err != nil {
			require.Equal(t, codes.InvalidArgument, status.Code(err))
			return
		}
		again, err := parsePlace(metadata.Pairs(TenantKey, p.tenant.String(), TimelineKey, p.timeline.String(), ShardKey, p.shard.String()))
		require.NoError(t, err)
		require.Equal(t, p, again)
	})
}

// TestStatusCodes: each status of gRPC either answers a request of a stream or ends it, as Neon's clients expect.
func TestStatusCodes(t *testing.T) {
	want := map[codes.Code]pb.GetPageStatusCode{
		codes.AlreadyExists: 3, codes.FailedPrecondition: 3, codes.InvalidArgument: 3, codes.OutOfRange: 3,
		codes.NotFound: 2, codes.DataLoss: 4, codes.Internal: 4, codes.ResourceExhausted: 5,
	}
	for c := codes.Canceled; c <= codes.Unauthenticated; c++ {
		code, ok := statusCode(c)
		wanted, answered := want[c]
		require.Equal(t, answered, ok, c)
		require.Equal(t, wanted, code, c)
	}
}

// FuzzRequest: whatever a client sends as a request of pages is refused without a panic, or lies within the limits.
func FuzzRequest(f *testing.F) {
	f.Add(uint32(1663), uint32(5), uint32(1259), uint32(0), true)
	f.Add(uint32(1663), uint32(5), uint32(0), uint32(1<<31), true)
	f.Add(uint32(0), uint32(0), uint32(0), uint32(4), false)
	f.Fuzz(func(t *testing.T, spc, db, rel, fork uint32, there bool) {
		var r *pb.RelTag
		if there {
			r = &pb.RelTag{SpcOid: spc, DbOid: db, RelNumber: rel, ForkNumber: fork}
		}
		tag, err := relTag(r)
		if !there || fork > 3 {
			require.Equal(t, codes.InvalidArgument, status.Code(err))
			return
		}
		require.NoError(t, err)
		require.Equal(t, page.RelTag{Spc: spc, DB: db, Rel: rel, Fork: page.Fork(fork)}, tag)
	})
}
