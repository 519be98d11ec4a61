package manage

import (
	"errors"
	"net/http"
)

var errNoPage = &statusError{http.StatusNotFound, errors.New("this server has no page for people; see /openapi.json")}

// home writes the page of all tenants.
func home(w http.ResponseWriter, r *http.Request) {
	s := serverOf(r)
	var err error = errNoPage
	if s.c.Page != nil {
		err = s.c.Page.Home(w, r)
	}
	if err != nil {
		s.fail(w, r, err)
	}
}

// timelinePage writes the page of one timeline.
func timelinePage(w http.ResponseWriter, r *http.Request) {
	c := &call{Request: r, s: serverOf(r), w: w}
	if err := c.timelinePage(); err != nil {
		c.s.fail(w, r, err)
	}
}

func (c *call) timelinePage() error {
	if c.s.c.Page == nil {
		return errNoPage
	}
	t, err := c.tenant()
	if err != nil {
		return err
	}
	tl, err := c.timeline()
	if err != nil {
		return err
	}
	return c.s.c.Page.Timeline(c.w, c.Request, t, tl)
}
