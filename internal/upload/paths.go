package upload

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// Names of objects. Source: Neon, pageserver/src/tenant/remote_timeline_client.rs.
const (
	indexName        = "index_part.json"
	generationDigits = 8
)

// Place is whose objects are meant.
type Place struct {
	Tenant   page.TenantID
	Timeline page.TimelineID
	// Shard is the tenant's, as "-0104" (number, count); empty if there are none.
	Shard string
}

// TenantPrefix begins the keys of all objects of the tenant.
func (p Place) TenantPrefix() string { return "tenants/" + p.Tenant.String() + p.Shard + "/" }

// Prefix begins the keys of all objects of the timeline.
func (p Place) Prefix() string {
	return p.TenantPrefix() + "timelines/" + p.Timeline.String() + "/"
}

// suffix is how names end that bear a generation; 0 is of files from before there were any.
func suffix(generation uint32) string {
	if generation == 0 {
		return ""
	}
	return fmt.Sprintf("-%0*x", generationDigits, generation)
}

// ObjectName is a layer's name within its timeline.
func ObjectName(d *layer.Desc) string { return d.Name() + suffix(d.Generation) }

// LayerKey is where a layer of the timeline lies. shard is that of the index's entry, four hex digits, and empty if there is none.
func (p Place) LayerKey(name string, generation uint32, shard string) string {
	if shard != "" {
		p.Shard = "-" + shard
	} else {
		p.Shard = ""
	}
	return p.Prefix() + name + suffix(generation)
}

// ObjectKey is where an object of the timeline lies.
func (p Place) ObjectKey(o Object) string { return p.Prefix() + o.key() }

// IndexKey is where the index of a generation lies.
func (p Place) IndexKey(generation uint32) string { return p.Prefix() + indexName + suffix(generation) }

// parseIndexName gives the generation of an index's name.
func parseIndexName(name string) (generation uint32, ok bool) {
	rest, ok := strings.CutPrefix(name, indexName)
	if !ok || rest == "" {
		return 0, ok
	}
	return parseSuffix(rest)
}

func parseSuffix(s string) (generation uint32, ok bool) {
	digits, ok := strings.CutPrefix(s, "-")
	if !ok || len(digits) != generationDigits || strings.ToLower(digits) != digits {
		return 0, false
	}
	g, err := strconv.ParseUint(digits, 16, 32)
	return uint32(g), err == nil && g > 0
}

// objectNamed takes an object's name apart.
func objectNamed(name string) Object {
	if i := len(name) - 1 - generationDigits; i > 0 {
		if g, ok := parseSuffix(name[i:]); ok {
			return Object{name[:i], g}
		}
	}
	return Object{name, 0}
}

// ObjectNamed takes the name of an object within its timeline apart.
func ObjectNamed(name string) Object { return objectNamed(name) }
