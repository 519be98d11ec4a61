package manage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	strata "github.com/stratapg/strata"
	"github.com/stratapg/strata/pageserver/auth"
)

// statusError is an error whose status is known.
type statusError struct {
	code int
	err  error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

func badRequest(format string, args ...any) error {
	return &statusError{http.StatusBadRequest, fmt.Errorf(format, args...)}
}

// codes are those of the engine's errors, the first that fits.
var codes = []struct {
	is   error
	code int
}{
	{auth.ErrToken, http.StatusUnauthorized},
	{auth.ErrDenied, http.StatusForbidden},
	{strata.ErrTenantNotFound, http.StatusNotFound},
	{strata.ErrTimelineNotFound, http.StatusNotFound},
	{strata.ErrNotFound, http.StatusNotFound},
	{strata.ErrTenantExists, http.StatusConflict},
	{strata.ErrTimelineExists, http.StatusConflict},
	{strata.ErrNoAncestor, http.StatusConflict},
	{strata.ErrTooManyAncestors, http.StatusBadRequest},
	{strata.ErrDetachOngoing, http.StatusServiceUnavailable},
	{strata.ErrUnsettled, http.StatusServiceUnavailable},
	{strata.ErrBeforeHistory, http.StatusPreconditionFailed},
	{strata.ErrFutureLSN, http.StatusPreconditionFailed},
	{strata.ErrHasBranches, http.StatusPreconditionFailed},
	{strata.ErrArchived, http.StatusPreconditionFailed},
	{strata.ErrNoRemote, http.StatusPreconditionFailed},
	{strata.ErrWithoutRemote, http.StatusPreconditionFailed},
	{strata.ErrReadOnly, http.StatusPreconditionFailed},
	{strata.ErrOnlyHere, http.StatusPreconditionFailed},
	{strata.ErrStale, http.StatusPreconditionFailed},
	{strata.ErrLeaseGrace, http.StatusServiceUnavailable},
	{strata.ErrTooManyLeases, http.StatusServiceUnavailable},
	{strata.ErrNotActive, http.StatusServiceUnavailable},
	{strata.ErrBackpressure, http.StatusServiceUnavailable},
	{strata.ErrClosed, http.StatusServiceUnavailable},
	{context.Canceled, http.StatusServiceUnavailable},
	{context.DeadlineExceeded, http.StatusRequestTimeout},
}

// statusOf gives the status that an error is answered with.
func statusOf(err error) int {
	var known *statusError
	if errors.As(err, &known) {
		return known.code
	}
	for _, c := range codes {
		if errors.Is(err, c.is) {
			return c.code
		}
	}
	return http.StatusInternalServerError
}

// message is the body of an error.
type message struct {
	Msg string `json:"msg"`
}

func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	code := statusOf(err)
	if code >= http.StatusInternalServerError && r.Context().Err() == nil {
		s.c.Logger.Warn("a request failed", "method", r.Method, "path", r.URL.Path, "status", code, "error", err)
	}
	if code == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	s.answer(w, r, code, message{err.Error()})
}

// answer writes a body of JSON, null where there is none: Neon's clients parse it.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, code int, body any) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.c.Idle))
	if page, ok := body.(html); ok {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(page)
		return
	}
	text, err := json.Marshal(body)
	if err != nil {
		code, text = http.StatusInternalServerError, []byte(`{"msg":"the answer cannot be written as JSON"}`)
		s.c.Logger.Error("an answer is no JSON", "path", r.URL.Path, "error", err)
	}
	if code == http.StatusNotModified {
		w.WriteHeader(code)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(text, '\n')) // who does not listen any more need not be told
}
