// Package catalog knows the compaction strategies by their names.
package catalog

import (
	"fmt"
	"strings"

	"github.com/stratapg/strata/compaction"
	"github.com/stratapg/strata/compaction/legacy"
	"github.com/stratapg/strata/compaction/partitioned"
	"github.com/stratapg/strata/compaction/tiered"
)

// all are the strategies, the default first.
func all() []compaction.Strategy {
	return []compaction.Strategy{legacy.New(), tiered.New(), partitioned.New()}
}

// Names lists the strategies' names, the default first.
func Names() []string {
	var names []string
	for _, s := range all() {
		names = append(names, s.Name())
	}
	return names
}

// New gives the strategy of a name. The empty name is the default's.
func New(name string) (compaction.Strategy, error) {
	for _, s := range all() {
		if name == "" || s.Name() == name {
			return s, nil
		}
	}
	return nil, fmt.Errorf("no compaction strategy %q: there are %s", name, strings.Join(Names(), ", "))
}
