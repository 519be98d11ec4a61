package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/stratapg/strata/pageserver/pageapi/pb"
)

// replay sends a request as Neon's Rust client does: with a body of JSON, null where there is none; and gives the status and the
// answer's JSON.
func (s *served) replay(t *testing.T, method, path string, body any) (int, any) {
	t.Helper()
	text, err := json.Marshal(body)
	require.NoError(t, err)
	r, err := http.NewRequestWithContext(t.Context(), method, s.api+path, strings.NewReader(string(text)))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	if answer.StatusCode == http.StatusNotModified {
		return answer.StatusCode, nil
	}
	var out any
	require.NoError(t, json.Unmarshal(got, &out), "%s %s: %s", method, path, got)
	return answer.StatusCode, out
}

// object demands fields of an object, each with the type that Neon's client parses: "s" text, "n" a number of at least 0, "b" true or
// false, "l" a list, "o" an object; with "?" after it null or nothing will do.
func object(t *testing.T, v any, fields map[string]string) map[string]any {
	t.Helper()
	o, ok := v.(map[string]any)
	require.True(t, ok, "%v", v)
	for name, kind := range fields {
		f := o[name]
		if kind, ok := strings.CutSuffix(kind, "?"); ok && f == nil {
			_ = kind
			continue
		}
		switch kind[0] {
		case 's':
			require.IsType(t, "", f, name)
		case 'n':
			require.IsType(t, 0.0, f, name)
			require.GreaterOrEqual(t, f, 0.0, name)
		case 'b':
			require.IsType(t, true, f, name)
		case 'l':
			require.IsType(t, []any{}, f, name)
		case 'o':
			require.IsType(t, map[string]any{}, f, name)
		}
	}
	return o
}

// Fields that Neon's structs demand.
var (
	tenantFields   = map[string]string{"id": "s", "state": "o", "current_physical_size": "n?", "attachment_status": "o", "generation": "n"}
	detailFields   = map[string]string{"walredo": "o?", "timelines": "l"}
	timelineFields = map[string]string{"tenant_id": "s", "timeline_id": "s", "ancestor_timeline_id": "s?", "ancestor_lsn": "s?", "last_record_lsn": "s",
		"prev_record_lsn": "s?", "disk_consistent_lsn": "s", "remote_consistent_lsn": "s", "remote_consistent_lsn_visible": "s", "initdb_lsn": "s",
		"current_logical_size": "n", "current_logical_size_is_accurate": "b", "directory_entries_counts": "l", "current_physical_size": "n?",
		"pitr_history_size": "n", "within_ancestor_pitr": "b", "pg_version": "n", "state": "s", "walreceiver_status": "s", "is_archived": "b?"}
	layerFields  = map[string]string{"kind": "s", "layer_file_name": "s", "layer_file_size": "n", "lsn_start": "s", "remote": "b", "access_stats": "o"}
	accessFields = map[string]string{"access_time": "n", "residence_time": "n", "visible": "b"}
)

// TestCallsOfNeonsPagebench replays each call of the management API that a subcommand of Neon's pagebench makes, and parses the
// answer as strictly as its client.
func TestCallsOfNeonsPagebench(t *testing.T) {
	s := serve(t)
	tenant, timeline, _ := strings.Cut(s.target, "/")
	path := "/v1/tenant/" + tenant + "/timeline/" + timeline
	good := func(method, path string, body any) any {
		t.Helper()
		code, out := s.replay(t, method, path, body)
		require.Equal(t, 200, code, "%s %s: %v", method, path, out)
		return out
	}
	// get-page-latest-lsn. Its client parses the answer to a switch as nothing, which is null.
	for _, mode := range []string{"buffered", "direct", "direct-rw"} {
		require.Nil(t, good("PUT", "/v1/io_mode", mode))
	}
	require.Nil(t, good("PUT", "/v1/io_engine", map[string]string{"std": "std-fs", "uring": "tokio-epoll-uring"}[s.engine]))
	tenants := good("GET", "/v1/tenant", nil).([]any)
	require.Len(t, tenants, 1)
	require.Equal(t, tenant, object(t, tenants[0], tenantFields)["id"])
	details := object(t, object(t, good("GET", "/v1/tenant/"+tenant, nil), tenantFields), detailFields)
	require.Equal(t, []any{timeline}, details["timelines"])
	keys := object(t, good("GET", path+"/keyspace", nil), map[string]string{"keys": "l", "sparse_keys": "l", "at_lsn": "s"})
	for _, r := range append(keys["keys"].([]any), keys["sparse_keys"].([]any)...) {
		require.Len(t, r, 2)
		for _, k := range r.([]any) {
			require.Regexp(t, "^[0-9A-F]{36}$", k)
		}
	}
	// trigger-initial-size-calculation.
	info := object(t, good("GET", path+"?force-await-logical-size=true", nil), timelineFields)
	require.Equal(t, true, info["current_logical_size_is_accurate"])
	require.Equal(t, "Active", info["state"])

	// ondemand-download-churn. That a layer was evicted or fetched is 200, that there was nothing to do 304.
	layers := object(t, good("GET", path+"/layer", nil), map[string]string{"in_memory_layers": "l", "historic_layers": "l"})
	require.NotEmpty(t, layers["historic_layers"])
	for _, v := range layers["historic_layers"].([]any) {
		l := object(t, v, layerFields)
		object(t, l["access_stats"], accessFields)
		require.Contains(t, []any{"Delta", "Image"}, l["kind"])
		if l["kind"] == "Delta" {
			object(t, v, map[string]string{"lsn_end": "s", "l0": "b"})
		}
	}
	layer := path + "/layer/" + layers["historic_layers"].([]any)[0].(map[string]any)["layer_file_name"].(string)
	for _, method := range []string{"DELETE", "GET", "GET"} {
		code, _ := s.replay(t, method, layer, nil)
		require.Contains(t, []int{200, 304}, code, method)
	}

	// aux-files. Lists come as lists of bytes.
	require.Nil(t, good("PUT", "/v1/tenant/config", map[string]any{"tenant_id": tenant}))
	good("POST", path+"/ingest_aux_files", map[string]any{"aux_files": map[string]string{"pg_logical/mappings/000.000": "00000000"}})
	files := good("POST", path+"/list_aux_files", map[string]any{"lsn": "FFFFFFFF/FFFFFFFE"})
	require.Equal(t, map[string]any{"pg_logical/mappings/000.000": []any{48.0, 48.0, 48.0, 48.0, 48.0, 48.0, 48.0, 48.0}}, files)

	// idle-streams, with --send-request: one request on a stream, of a relation that each cluster has.
	conn, err := grpc.NewClient("passthrough:///"+strings.TrimPrefix(s.grpc, "grpc://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer conn.Close()
	st, err := pb.NewPageServiceClient(conn).GetPages(metadata.AppendToOutgoingContext(t.Context(), "neon-tenant-id", tenant, "neon-timeline-id", timeline, "neon-shard-id", "0000"))
	require.NoError(t, err)
	request := &pb.GetPageRequest{RequestId: &pb.RequestID{Id: 1}, RequestClass: pb.GetPageClass_GET_PAGE_CLASS_NORMAL,
		ReadLsn: &pb.ReadLsn{RequestLsn: 1<<64 - 1, NotModifiedSinceLsn: 1}, Rel: &pb.RelTag{SpcOid: 1664, RelNumber: 1262}, BlockNumber: []uint32{0}}
	require.NoError(t, st.Send(request))
	page, err := st.Recv()
	require.NoError(t, err)
	require.Equal(t, pb.GetPageStatusCode_GET_PAGE_STATUS_CODE_OK, page.StatusCode, page.Reason)
	require.EqualValues(t, 1, page.RequestId.Id)
	require.Len(t, page.Page, 1)
	require.Len(t, page.Page[0].Image, 8192)
	require.NoError(t, st.CloseSend())

	// An error is a message, with a status of errors.
	code, out := s.replay(t, "GET", "/v1/tenant/"+strings.Repeat("1", 32), nil)
	require.Equal(t, 404, code)
	object(t, out, map[string]string{"msg": "s"})
}
