package pageapi

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/stratapg/strata/pageserver/pageapi/pb"
)

// FuzzMessages: bytes are no message, or one whose parts are understood or refused as InvalidArgument.
func FuzzMessages(f *testing.F) {
	for _, m := range []proto.Message{
		&pb.GetPageRequest{RequestId: &pb.RequestID{Id: 7}, ReadLsn: &pb.ReadLsn{RequestLsn: 9}, Rel: &pb.RelTag{RelNumber: 1259, ForkNumber: 5}, BlockNumber: []uint32{1, 2, 3}},
		&pb.GetBaseBackupRequest{Lsn: 8, Full: true, Compression: 2}, &pb.GetDbSizeRequest{DbOid: 5}, &pb.GetSlruSegmentRequest{Kind: 2, Segno: 1 << 31}, &pb.LeaseLsnRequest{Lsn: 8},
	} {
		b, err := proto.Marshal(m)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Add([]byte{0x2a, 0xff, 0xff, 0xff, 0xff, 0x0f})
	bad := func(t *testing.T, err error) {
		if err != nil {
			require.Equal(t, codes.InvalidArgument, status.Code(err))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var pages pb.GetPageRequest
		if proto.Unmarshal(b, &pages) == nil {
			require.LessOrEqual(t, len(pages.BlockNumber), len(b), "memory for what was sent alone")
			_, err := relTag(pages.Rel)
			bad(t, err)
			_, _, err = lsns(pages.ReadLsn)
			bad(t, err)
		}
		var backup pb.GetBaseBackupRequest
		if proto.Unmarshal(b, &backup) == nil {
			_, err := backupOptions(&backup)
			bad(t, err)
		}
		for _, m := range []proto.Message{&pb.GetDbSizeRequest{}, &pb.GetRelSizeRequest{}, &pb.GetSlruSegmentRequest{}, &pb.LeaseLsnRequest{}} {
			_ = proto.Unmarshal(b, m)
		}
	})
}
