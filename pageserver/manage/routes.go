package manage

import (
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Paths of a tenant, or a shard of one, and of a timeline.
const (
	tenantPath   = "/v1/tenant/{tenant}"
	timelinePath = tenantPath + "/timeline/{timeline}"
)

// routes lists all that can be asked for.
func routes() []route {
	return []route{
		{method: "GET", path: "/{$}", who: manager, says: "A page for people: tenants, timelines, what is asked for; with live its changing part.", query: []string{"live"}, raw: http.HandlerFunc(home)},
		{method: "GET", path: timelinePath + "/status", who: user, says: "A page for people: a timeline with a drawing of its layers.", raw: http.HandlerFunc(timelinePage)},
		on("GET", "/v1/status", anyone, "The server's id; that it answers says that it lives.", (*call).status),
		{method: "GET", path: "/metrics", who: anyone, says: "Metrics in Prometheus' format.", query: []string{"use_latest", "force_metric_collection_on_scrape"}, raw: http.HandlerFunc(metrics)},
		{method: "GET", path: "/openapi.json", who: anyone, says: "This description.", raw: http.HandlerFunc(describe)},
		{method: "GET", path: "/swagger.yml", who: anyone, says: "This description, where Neon has its own; JSON is YAML.", raw: http.HandlerFunc(describe)},
		{method: "GET", path: "/profile/cpu", who: manager, says: "A CPU profile of so many seconds, for go tool pprof.", query: []string{"seconds"}, raw: http.HandlerFunc(pprof.Profile)},
		{method: "GET", path: "/profile/heap", who: manager, says: "A heap profile, for go tool pprof.", query: []string{"gc"}, raw: pprof.Handler("heap")},
		{method: "GET", path: "/profile/goroutine", who: manager, says: "All goroutines; debug=2 for their stacks.", query: []string{"debug"}, raw: pprof.Handler("goroutine")},
		on("POST", "/v1/reload_auth_validation_keys", manager, "Reads the keys of tokens again.", (*call).reloadKeys),
		on("PUT", "/v1/io_mode", manager, `How layer files are opened from now on: "buffered", "direct" or "direct-rw".`, (*call).setIOMode),
		on("PUT", "/v1/io_engine", manager, `How reads and writes reach the kernel from now on: "std-fs" or "tokio-epoll-uring", io_uring; an error where that is not to be had.`, (*call).setIOEngine),

		on("GET", "/v1/tenant", manager, "All tenants and shards that are here.", (*call).listTenants),
		on("POST", "/v1/tenant", manager, "Makes a tenant without timelines.", (*call).createTenant),
		on("PUT", "/v1/tenant/config", manager, "Takes a configuration of a tenant that is empty but for rel_size_v2_enabled: has its timelines list relations in both forms from now on, or takes that back. All other options are the store's, and given at the start.", (*call).configure),
		on("GET", tenantPath, user, "A tenant with the ids of its timelines.", (*call).tenantDetails),
		on("PUT", tenantPath+"/location_config", manager, "Attaches a tenant from remote storage, or makes one (AttachedSingle); or detaches it (Detached).", (*call).locate),
		on("GET", tenantPath+"/synthetic_size", user, "What the tenant's history comes to; with Accept: text/html a drawing.", (*call).syntheticSize),
		on("POST", tenantPath+"/heatmap_upload", user, "Tells remote storage which layers are worth having elsewhere.", (*call).heatmap),

		on("GET", tenantPath+"/timeline", user, "All timelines of a tenant that can be read.", (*call).listTimelines),
		on("POST", tenantPath+"/timeline", user, "Makes a branch; again with the same id and origin: 201 again.", (*call).createTimeline),
		on("GET", timelinePath, user, "A timeline.", (*call).timelineDetails, forceSize...),
		on("DELETE", timelinePath, user, "Removes a timeline for good, here and remotely; 404 says that it is gone.", (*call).deleteTimeline),
		on("PUT", timelinePath+"/archival_config", user, `Makes a timeline "Archived" or "Unarchived".`, (*call).archive),
		on("PUT", timelinePath+"/patch_index_part", user, "Has a timeline list its relations in another form from its next record on: rel_size_migration, migrating and then migrated.", (*call).patch),
		on("PUT", timelinePath+"/detach_ancestor", user, "Makes a branch independent of what it branches from; again: 200 again.", (*call).detachAncestor, "detach_behavior"),
		on("GET", timelinePath+"/keyspace", user, "Which keys exist, at the end or at an LSN.", (*call).keyspace, "at_lsn"),
		on("GET", timelinePath+"/layer", user, "All layers with their sizes, and whether they are in remote storage only.", (*call).layers, "reset"),
		on("GET", timelinePath+"/layer/{layer}", user, "Fetches a layer; 304 says that it is here.", (*call).fetchLayer),
		on("DELETE", timelinePath+"/layer/{layer}", user, "Removes a layer from the local disk; 304 says that it stays: remote storage lacks it, or somebody reads it.", (*call).evictLayer),
		on("POST", timelinePath+"/ingest_aux_files", user, "Writes auxiliary files by a record of its own. Refused but by a server for tests.", (*call).ingestAux),
		on("POST", timelinePath+"/list_aux_files", user, "All auxiliary files, each as a list of bytes.", (*call).listAux),
		on("GET", timelinePath+"/getpage", user, "One value, with what it took to read it.", (*call).getPage, "key", "lsn"),
		on("POST", timelinePath+"/lsn_lease", user, "Keeps an LSN readable for ten minutes.", (*call).lease),
		on("GET", timelinePath+"/get_lsn_by_timestamp", user, "The last LSN before the first commit after a time.", (*call).lsnOfTime, "timestamp", "with_lease"),
		on("PUT", timelinePath+"/checkpoint", user, "Writes what is in memory, and compacts.", (*call).checkpoint, "compact", "wait_until_flushed", "wait_until_uploaded", "force_l0_compaction", "force_repartition", "force_image_layer_creation"),
		on("PUT", timelinePath+"/compact", user, "Compacts until there is nothing left to do.", (*call).compact, "wait_until_uploaded", "force_l0_compaction", "force_repartition", "force_image_layer_creation"),
		on("PUT", timelinePath+"/do_gc", user, "Removes what no read needs, up to a horizon of bytes of WAL.", (*call).collect),
		on("POST", timelinePath+"/download_remote_layers", user, "Fetches all layers that are remote only, and returns when they are here.", (*call).download),
	}
}

// metrics answers from the server's Gatherer, which it finds in the request's context.
func metrics(w http.ResponseWriter, r *http.Request) {
	s := serverOf(r)
	if s.c.Gatherer == nil {
		s.fail(w, r, &statusError{http.StatusNotFound, errNoMetrics})
		return
	}
	promhttp.HandlerFor(s.c.Gatherer, promhttp.HandlerOpts{MaxRequestsInFlight: 4}).ServeHTTP(w, r)
}
