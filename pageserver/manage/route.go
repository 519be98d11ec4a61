package manage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"strings"
	"time"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pageserver/auth"
)

// who may use a route.
type who int

const (
	anyone  who = iota
	user        // of the tenant in the path
	manager     // of the whole server
)

// route is one thing that can be asked for.
type route struct {
	method, path string
	who          who
	says         string
	query        []string     // names of parameters, of which none must be there
	body, reply  reflect.Type // of JSON, nil where there is none
	raw          http.Handler // answers itself what is no JSON
	do           func(*call, any) (any, error)
}

// call is one request.
type call struct {
	*http.Request
	s      *Server
	claims auth.Claims
	w      http.ResponseWriter
	code   int // of the answer, if there is no error
}

// none is a body or an answer that there is not.
type none struct{}

// on makes a route of a function between two types of JSON.
func on[In, Out any](method, path string, w who, says string, do func(*call, *In) (Out, error), query ...string) route {
	r := route{method: method, path: path, who: w, says: says, query: query, reply: reflect.TypeFor[Out]()}
	if body := reflect.TypeFor[In](); body != reflect.TypeFor[none]() {
		r.body = body
	}
	if r.reply == reflect.TypeFor[none]() {
		r.reply = nil
	}
	r.do = func(c *call, in any) (any, error) {
		body, _ := in.(*In)
		return do(c, body)
	}
	return r
}

// rawTime bounds what is no JSON: a CPU profile takes as long as it was told.
const rawTime = 10 * time.Minute

// handler answers requests of a route.
func (s *Server) handler(r route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		c := &call{Request: req, s: s, w: w, code: http.StatusOK}
		if err := c.allow(r.who); err != nil {
			s.fail(w, req, err)
			return
		}
		if err := c.checkQuery(r.query); err != nil {
			s.fail(w, req, err)
			return
		}
		if r.raw != nil {
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(rawTime))
			r.raw.ServeHTTP(w, req)
			return
		}
		var in any
		if r.body != nil {
			in = reflect.New(r.body).Interface()
			if err := c.readBody(in); err != nil {
				s.fail(w, req, err)
				return
			}
		}
		out, err := r.do(c, in)
		if err != nil {
			s.fail(w, req, err)
			return
		}
		if r.reply == nil {
			out = nil
		}
		s.answer(w, req, c.code, out)
	})
}

// allow holds a request's token against what it asks for.
func (c *call) allow(w who) (err error) {
	if w == anyone || c.s.c.Auth == nil {
		return nil
	}
	token, ok := strings.CutPrefix(c.Header.Get("Authorization"), "Bearer ")
	if !ok {
		token = ""
	}
	if c.claims, err = c.s.c.Auth.Verify(token); err != nil {
		return err
	}
	if w == manager {
		return c.claims.MayManage()
	}
	id, err := c.shardID()
	if err != nil {
		return err
	}
	return c.claims.MayUse(id.Tenant)
}

func (c *call) checkQuery(known []string) error {
	for name := range c.URL.Query() {
		found := false
		for _, k := range known {
			found = found || k == name
		}
		if !found {
			return badRequest("there is no parameter %q here", name)
		}
	}
	return nil
}

// readBody takes a request's body. An empty one leaves in as it is.
func (c *call) readBody(in any) error {
	slow := http.NewResponseController(c.w)
	_ = slow.SetReadDeadline(time.Now().Add(c.s.c.Header)) // which who answers without a connection does not know
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.Body, c.s.c.MaxBody))
	if err == nil {
		_ = slow.SetReadDeadline(time.Time{}) // or the work would end then
	}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return &statusError{http.StatusRequestEntityTooLarge, fmt.Errorf("a body of more than %d bytes", large.Limit)}
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.w.Header().Set("Connection", "close")
		return &statusError{http.StatusRequestTimeout, fmt.Errorf("the body has not come within %s", c.s.c.Header)}
	case err != nil:
		return badRequest("reading the body: %w", err)
	case len(body) == 0:
		return nil
	}
	if err := json.Unmarshal(body, in); err != nil {
		return badRequest("the body: %w", err)
	}
	return nil
}

func (c *call) shardID() (page.TenantShardID, error) {
	id, err := page.ParseTenantShardID(c.PathValue("tenant"))
	if err != nil {
		return id, badRequest("%w", err)
	}
	return id, nil
}

// tenant finds the tenant, or the shard, of the path.
func (c *call) tenant() (*strata.Tenant, error) {
	id, err := c.shardID()
	if err != nil {
		return nil, err
	}
	return c.s.c.Engine.Shard(c.Context(), id)
}

func (c *call) timelineID() (page.TimelineID, error) {
	id, err := page.ParseTimelineID(c.PathValue("timeline"))
	if err != nil {
		return id, badRequest("%w", err)
	}
	return id, nil
}

// timeline finds the timeline of the path.
func (c *call) timeline() (*strata.Timeline, error) {
	t, err := c.tenant()
	if err != nil {
		return nil, err
	}
	id, err := c.timelineID()
	if err != nil {
		return nil, err
	}
	return t.Timeline(c.Context(), id.String())
}

// flag gives a parameter that is true or false.
func (c *call) flag(name string, otherwise bool) (bool, error) {
	switch v := c.URL.Query().Get(name); v {
	case "":
		return otherwise, nil
	case "true", "1":
		return true, nil
	case "false", "0":
		return false, nil
	default:
		return false, badRequest("parameter %s is %q: true or false is wanted", name, v)
	}
}

// lsn gives a parameter that is an LSN.
func (c *call) lsn(name string, otherwise page.LSN) (page.LSN, error) {
	v := c.URL.Query().Get(name)
	if v == "" {
		return otherwise, nil
	}
	lsn, err := page.ParseLSN(v)
	if err != nil {
		return 0, badRequest("parameter %s: %w", name, err)
	}
	return lsn, nil
}
