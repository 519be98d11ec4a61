package pageserver_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pageserver"
	"github.com/stratapg/strata/pageserver/auth"
	"github.com/stratapg/strata/pageserver/client"
	"github.com/stratapg/strata/pageserver/pageapi"
	"github.com/stratapg/strata/pageserver/pageapi/pb"
	"github.com/stratapg/strata/pageserver/pagestream"
)

// signer makes tokens, and keys that believe them.
func signer(t *testing.T) (token func(jwt.MapClaims) string, keys *auth.Keys) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	name := filepath.Join(t.TempDir(), "key.pem")
	require.NoError(t, os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600))
	keys, err = auth.Open(name, auth.Options{})
	require.NoError(t, err)
	return func(c jwt.MapClaims) string {
		s, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, c).SignedString(private)
		require.NoError(t, err)
		return s
	}, keys
}

// noMore takes nothing.
type noMore struct{}

var errNoMore = errors.New("that is enough")

func (noMore) Write([]byte) (int, error) { return 0, errNoMore }

// TestWhoMay asks for each thing that the server does with each kind of token.
func TestWhoMay(t *testing.T) {
	sign, keys := signer(t)
	s := serve(t, pageserver.Config{Auth: keys})
	last := s.lsns[len(s.lsns)-1]
	place := fmt.Sprintf("%s %s", s.tenant, s.Info().ID)
	stream := func(v pagestream.Version) func(*client.Conn) error {
		return func(c *client.Conn) error {
			_, err := c.Stream(s.tenant, s.Info().ID, v)
			return err
		}
	}
	backup := func(command string) func(*client.Conn) error {
		return func(c *client.Conn) error {
			_, err := c.Copy(command, noMore{})
			if errors.Is(err, errNoMore) { // it has begun
				err = nil
			}
			return err
		}
	}
	commands := map[string]func(*client.Conn) error{
		"pagestream_v2": stream(pagestream.V2),
		"pagestream_v3": stream(pagestream.V3),
		"fullbackup":    backup("fullbackup " + place + " " + last.String()),
		"basebackup":    backup("basebackup " + place + " latest"),
		"lease": func(c *client.Conn) error {
			_, _, err := c.Row("lease lsn " + place + " " + last.String())
			return err
		},
	}
	denied := int64(0)
	for _, c := range allTokens(t, sign, s.tenant) {
		for name, run := range commands {
			conn, err := client.Dial(context.Background(), s.addr, client.Options{Token: c.token})
			if c.unknown != "" {
				denied++
				var refused *client.ServerError
				require.ErrorAs(t, err, &refused, c.name)
				require.Equal(t, "XX000", refused.Code)
				require.Contains(t, refused.Message, c.unknown, c.name)
				break // no command can be said
			}
			require.NoError(t, err, c.name)
			err = run(conn)
			if c.denied == "" {
				require.NoError(t, err, "%s with a token %s", name, c.name)
			} else {
				denied++
				require.ErrorContains(t, err, c.denied, "%s with a token %s", name, c.name)
			}
			require.NoError(t, conn.Close())
		}
	}
	require.Equal(t, denied, s.s.Metrics().Denied)
}

// TestRefusedIsLeft: who is refused and goes on as if he were not is heard no more.
func TestRefusedIsLeft(t *testing.T) {
	_, keys := signer(t)
	s := serve(t, pageserver.Config{Auth: keys})
	nc, err := net.Dial("tcp", s.addr)
	require.NoError(t, err)
	defer nc.Close()
	fe := pgproto3.NewFrontend(nc, nc)
	fe.Send(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersionNumber, Parameters: map[string]string{"user": "postgres"}})
	require.NoError(t, fe.Flush())
	m, err := fe.Receive()
	require.NoError(t, err)
	require.IsType(t, &pgproto3.AuthenticationCleartextPassword{}, m)
	fe.Send(&pgproto3.PasswordMessage{Password: "no token"})
	require.NoError(t, fe.Flush())
	m, err = fe.Receive()
	require.NoError(t, err)
	require.IsType(t, &pgproto3.ErrorResponse{}, m)
	_, err = fe.Receive()
	require.Error(t, err, "the connection has been closed")
}

// TestDeniedBeforeLooked: who may not use a tenant does not learn whether it is here.
func TestDeniedBeforeLooked(t *testing.T) {
	token, keys := signer(t)
	s := serve(t, pageserver.Config{Auth: keys})
	c, err := client.Dial(context.Background(), s.addr, client.Options{Token: token(jwt.MapClaims{"scope": "tenant", "tenant_id": page.TenantID{7}.String()})})
	require.NoError(t, err)
	defer c.Close()
	for _, tenant := range []page.TenantID{s.tenant, {8}} {
		_, err := c.Stream(tenant, s.Info().ID, pagestream.V3)
		require.ErrorContains(t, err, "it is for tenant "+page.TenantID{7}.String()+", not "+tenant.String())
	}
}

// TestWhoMayCall asks for each thing of the gRPC service with each kind of token.
func TestWhoMayCall(t *testing.T) {
	sign, keys := signer(t)
	s := serve(t, pageserver.Config{})
	g := s.calls(t, pageapi.Config{Auth: keys}, "")
	last := uint64(s.LastRecordLSN())
	at := &pb.ReadLsn{RequestLsn: last}
	endpoints := map[string]func(ctx context.Context) error{
		"GetBaseBackup": func(ctx context.Context) error {
			st, err := g.GetBaseBackup(ctx, &pb.GetBaseBackupRequest{Compression: pb.BaseBackupCompression_BASE_BACKUP_COMPRESSION_NONE})
			for err == nil {
				_, err = st.Recv()
			}
			return notEOF(err)
		},
		"GetDbSize": func(ctx context.Context) error {
			_, err := g.GetDbSize(ctx, &pb.GetDbSizeRequest{ReadLsn: at, DbOid: 5})
			return err
		},
		"GetPages": func(ctx context.Context) error {
			st, err := g.GetPages(ctx)
			if err != nil {
				return err
			}
			if err := st.CloseSend(); err != nil {
				return err
			}
			_, err = st.Recv()
			return notEOF(err)
		},
		"GetRelSize": func(ctx context.Context) error {
			_, err := g.GetRelSize(ctx, &pb.GetRelSizeRequest{ReadLsn: at, Rel: relation(page.RelTag{Spc: 1663, DB: 5, Rel: 1259})})
			return err
		},
		"GetSlruSegment": func(ctx context.Context) error {
			_, err := g.GetSlruSegment(ctx, &pb.GetSlruSegmentRequest{ReadLsn: at})
			return err
		},
		"LeaseLsn": func(ctx context.Context) error {
			_, err := g.LeaseLsn(ctx, &pb.LeaseLsnRequest{Lsn: last})
			return err
		},
	}
	for _, m := range pb.PageService_ServiceDesc.Methods {
		require.Contains(t, endpoints, m.MethodName)
	}
	for _, m := range pb.PageService_ServiceDesc.Streams {
		require.Contains(t, endpoints, m.StreamName)
	}
	denied := int64(0)
	type header struct {
		name, authorization string
		code                codes.Code
	}
	headers := []header{
		{"of another scheme", "Digest " + sign(jwt.MapClaims{"scope": "pageserverapi"}), codes.InvalidArgument},
		{"that is none", "Bearer abc", codes.InvalidArgument},
		{"that is empty", "Bearer ", codes.InvalidArgument},
	}
	var tenants header
	for i, c := range allTokens(t, sign, s.tenant) {
		h := header{c.name, []string{"Bearer ", "bearer "}[i%2] + c.token, codes.OK}
		switch {
		case c.token == "":
			h.authorization, h.code = "", codes.Unauthenticated
		case c.unknown != "":
			h.code = codes.InvalidArgument
		case c.denied != "":
			h.code = codes.PermissionDenied
		case c.name == "of the tenant":
			tenants = h
		}
		headers = append(headers, h)
	}
	for _, c := range headers {
		for name, call := range endpoints {
			ctx := g.ctx
			if c.authorization != "" {
				ctx = metadata.AppendToOutgoingContext(ctx, pageapi.AuthorizationKey, c.authorization)
			}
			err := call(ctx)
			require.Equal(t, c.code, status.Code(err), "%s with a token %s: %v", name, c.name, err)
			if c.code != codes.OK {
				denied++
			}
		}
	}
	require.Equal(t, denied, g.s.Metrics().Denied)

	// Who may not use a tenant does not learn whether it is here.
	other := metadata.AppendToOutgoingContext(t.Context(), pageapi.TenantKey, page.TenantID{8}.String(), pageapi.TimelineKey, page.TimelineID{8}.String(),
		pageapi.ShardKey, "0000", pageapi.AuthorizationKey, tenants.authorization)
	require.Equal(t, codes.PermissionDenied, status.Code(endpoints["GetDbSize"](other)))
}

func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
