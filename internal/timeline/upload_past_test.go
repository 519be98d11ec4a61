package timeline

import (
	"slices"

	"github.com/stratapg/strata/internal/upload"
	"github.com/stratapg/strata/page"
)

var (
	uploadTenant   = page.TenantID{0xAA}
	uploadTimeline = page.TimelineID{0xBB}
	uploadPlace    = upload.Place{Tenant: uploadTenant, Timeline: uploadTimeline}
)

const (
	uploadKeys     = 8
	uploadStrategy = "legacy"
)

// past is what a timeline should hold: each key's values, oldest first.
type past struct {
	values [uploadKeys][]pastValue
	last   page.LSN
}

type pastValue struct {
	lsn   page.LSN
	value string
}

// at gives a key's value as of an LSN, empty if there is none.
func (p *past) at(key int, lsn page.LSN) (v string) {
	for _, x := range p.values[key] {
		if x.lsn <= lsn {
			v = x.value
		}
	}
	return v
}

// cut forgets what lies above an LSN, as a crash does.
func (p *past) cut(lsn page.LSN) {
	for k := range p.values {
		p.values[k] = slices.DeleteFunc(p.values[k], func(v pastValue) bool { return v.lsn > lsn })
	}
	p.last = lsn
}

func (p *past) clone() *past {
	c := *p
	for k := range c.values {
		c.values[k] = slices.Clone(c.values[k])
	}
	return &c
}
