package pagebench

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/stratapg/strata/page"
)

// Target is a timeline to be asked.
type Target struct {
	Tenant   page.TenantID
	Timeline page.TimelineID
}

// String gives Neon's form, tenant/timeline.
func (t Target) String() string { return t.Tenant.String() + "/" + t.Timeline.String() }

// MarshalText gives the form of String.
func (t Target) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText takes the form of String.
func (t *Target) UnmarshalText(b []byte) (err error) {
	*t, err = ParseTarget(string(b))
	return err
}

// ParseTarget takes the form of String.
func ParseTarget(s string) (t Target, err error) {
	tenant, timeline, ok := strings.Cut(s, "/")
	if !ok {
		return t, fmt.Errorf("target %q: TENANT/TIMELINE is wanted, in hexadecimal", s)
	}
	if t.Tenant, err = page.ParseTenantID(tenant); err == nil {
		t.Timeline, err = page.ParseTimelineID(timeline)
	}
	return t, err
}

// API is a server's management API.
type API struct {
	// Endpoint is its URL, without a path.
	Endpoint string
	// Token, if set, is sent as the bearer's.
	Token string
	// Client; default http.DefaultClient.
	Client *http.Client
}

// maxAnswer bounds what is read of an answer: a key space of some millions of ranges.
const maxAnswer = 1 << 30

// call sends a request and takes its JSON, if out is not nil.
func (a *API) call(ctx context.Context, method, path, body string, out any) error {
	_, err := a.ask(ctx, method, path, body, out)
	return err
}

// did sends a request for work, and reports whether there was any: 304 says that there was not.
func (a *API) did(ctx context.Context, method, path string) (bool, error) {
	code, err := a.ask(ctx, method, path, "", nil)
	return err == nil && code != http.StatusNotModified, err
}

// ask gives the status too.
func (a *API) ask(ctx context.Context, method, path, body string, out any) (code int, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s %s%s: %w", method, a.Endpoint, path, err)
		}
	}()
	r, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(a.Endpoint, "/")+path, strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	if a.Token != "" {
		r.Header.Set("Authorization", "Bearer "+a.Token)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	client := cmp.Or(a.Client, http.DefaultClient)
	answer, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return 0, err
	}
	code = answer.StatusCode
	if code == http.StatusNotModified {
		return code, nil
	}
	if code >= http.StatusMultipleChoices {
		var refused struct{ Msg string }
		_ = json.Unmarshal(text, &refused) // who does not say why has a status
		return code, errors.New(strings.TrimSpace(answer.Status + " " + refused.Msg))
	}
	if out == nil {
		return code, nil
	}
	return code, json.Unmarshal(text, out)
}

// Configure switches the server to an I/O engine and mode, where they are not empty.
func (a *API) Configure(ctx context.Context, engine, mode string) error {
	for _, x := range [][2]string{{"/v1/io_engine", engine}, {"/v1/io_mode", mode}} {
		if x[1] == "" {
			continue
		}
		if err := a.call(ctx, http.MethodPut, x[0], fmt.Sprintf("%q", x[1]), nil); err != nil {
			return err
		}
	}
	return nil
}

// Discover gives the targets named, or else all timelines of the server; the first limit of them, by id, if that is not 0.
func (a *API) Discover(ctx context.Context, named []Target, limit int) ([]Target, error) {
	all := slices.Clone(named)
	if len(all) == 0 {
		var tenants []struct{ ID page.TenantShardID }
		if err := a.call(ctx, http.MethodGet, "/v1/tenant", "", &tenants); err != nil {
			return nil, err
		}
		for _, t := range tenants {
			if t.ID.Shard.Count > 0 {
				return nil, fmt.Errorf("tenant %s is sharded: name targets that are not", t.ID)
			}
			var details struct{ Timelines []page.TimelineID }
			if err := a.call(ctx, http.MethodGet, "/v1/tenant/"+t.ID.String(), "", &details); err != nil {
				return nil, err
			}
			for _, tl := range details.Timelines {
				all = append(all, Target{t.ID.Tenant, tl})
			}
		}
	}
	return first(all, limit)
}

// first gives the first limit targets by id, if that is not 0.
func first(all []Target, limit int) ([]Target, error) {
	if limit > 0 {
		slices.SortFunc(all, func(a, b Target) int { return strings.Compare(a.String(), b.String()) })
		if len(all) < limit {
			return nil, fmt.Errorf("there are %d targets, fewer than %d", len(all), limit)
		}
		all = all[:limit]
	}
	if len(all) == 0 {
		return nil, errors.New("the server has no timeline")
	}
	return all, nil
}

// InitialSizes has the server reckon the logical size of a timeline.
func (a *API) InitialSizes(ctx context.Context, t Target) (bytes int64, accurate bool, err error) {
	var out struct {
		Size     int64 `json:"current_logical_size"`
		Accurate bool  `json:"current_logical_size_is_accurate"`
	}
	path := fmt.Sprintf("/v1/tenant/%s/timeline/%s?force-await-initial-logical-size=true", t.Tenant, t.Timeline)
	err = a.call(ctx, http.MethodGet, path, "", &out)
	return out.Size, out.Accurate, err
}
