package pagebench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/stratapg/strata/page"
)

// Aux writes many auxiliary files, and lists them again and again.
type Aux struct {
	API *API
	// Batches of Files each are written, then Lists lists are asked for; Neon has 100 each.
	Batches, Files, Lists int
	// Tell is told of each line of Neon's.
	Tell func(line string)
}

// Run works on one timeline.
func (a Aux) Run(ctx context.Context, t Target) error {
	a.Tell("operating on timeline " + t.String())
	if err := a.API.put(ctx, http.MethodPut, "/v1/tenant/config", map[string]any{"tenant_id": t.Tenant}, nil); err != nil {
		return err
	}
	path := fmt.Sprintf("/v1/tenant/%s/timeline/%s/", t.Tenant, t.Timeline)
	for batch := range a.Batches {
		files := map[string]string{}
		for id := range a.Files {
			files[fmt.Sprintf("pg_logical/mappings/%03d.%03d", batch, id)] = fmt.Sprintf("%08d", id)
		}
		if err := a.API.put(ctx, http.MethodPost, path+"ingest_aux_files", map[string]any{"aux_files": files}, nil); err != nil {
			return err
		}
		a.Tell(fmt.Sprintf("ingested %d files", len(files)))
	}
	for range a.Lists {
		begun := time.Now()
		var found map[string]json.RawMessage
		if err := a.API.put(ctx, http.MethodPost, path+"list_aux_files", map[string]any{"lsn": page.MaxLSN - 1}, &found); err != nil {
			return err
		}
		a.Tell(fmt.Sprintf("%d files found in %vs", len(found), time.Since(begun).Seconds()))
	}
	return nil
}

func (a *API) put(ctx context.Context, method, path string, body, out any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return a.call(ctx, method, path, string(text), out)
}
