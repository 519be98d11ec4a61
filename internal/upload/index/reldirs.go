package index

import (
	"encoding/json"
	"fmt"

	"github.com/stratapg/strata/page"
)

// Neon's fields for how a timeline says which relations there are: how far it has come from one value for each database to a key for
// each relation, and from which LSN such keys are read.
const (
	fieldRelDirs      = "rel_size_migration"
	fieldRelDirsSince = "rel_size_migrated_at"
)

// RelDirs gives the form of the directories of relations. Without the fields that is page.RelDirV1; an LSN alone says nothing.
func (p *Part) RelDirs() (d page.RelDirs, err error) {
	var form *string
	var since *page.LSN
	if raw, ok := p.Rest[fieldRelDirs]; ok {
		if err := json.Unmarshal(raw, &form); err != nil {
			return d, fmt.Errorf("%s: %w", fieldRelDirs, err)
		}
	}
	if raw, ok := p.Rest[fieldRelDirsSince]; ok {
		if err := json.Unmarshal(raw, &since); err != nil {
			return d, fmt.Errorf("%s: %w", fieldRelDirsSince, err)
		}
	}
	if form != nil {
		if d.Form, err = page.ParseRelDirForm(*form); err != nil {
			return d, fmt.Errorf("%s: %w", fieldRelDirs, err)
		}
	}
	if d.Form != page.RelDirV1 && since != nil {
		d.Since = *since
	}
	return d, nil
}

// SetRelDirs says which form the directories of relations have. What says the same already stays as it was written.
func (p *Part) SetRelDirs(d page.RelDirs) {
	if old, err := p.RelDirs(); err == nil && old == d {
		return
	}
	delete(p.Rest, fieldRelDirs)
	delete(p.Rest, fieldRelDirsSince)
	if d.Form == page.RelDirV1 {
		return
	}
	p.Rest[fieldRelDirs] = json.RawMessage(`"` + d.Form.String() + `"`)
	p.Rest[fieldRelDirsSince] = json.RawMessage(`"` + d.Since.String() + `"`)
}
