// Package evict decides which layer files leave the local disk because remote storage has them too. It is pure: a snapshot of
// the layers and of the disk goes in, the layers to be evicted come out, first ones first.
//
// Those that no read at the ends of timelines needs go before all others. Then those go that were not read for the longest
// time relative to their tenant: the layers of each tenant are ranked by their last use, and a tenant that reads little
// loses the same share as one that reads much. The most recently used ones of each tenant, up to a reserve, go last of all.
package evict

import (
	"cmp"
	"slices"
	"time"
)

// Layer is a layer file that is on the local disk and may leave it: remote storage has it, and nobody holds it.
type Layer struct {
	// Tenant tells whose it is.
	Tenant int
	// Size is in bytes.
	Size int64
	// Used is when it was last read, or came.
	Used time.Time
	// Covered says that newer images hide it from reads at the ends of timelines and branches.
	Covered bool
}

// Limits say when layers leave. Zeros are no limits.
type Limits struct {
	// MaxUsagePct is how full, in percent, the disk may be, MinAvailBytes what is to be free on it.
	MaxUsagePct   int
	MinAvailBytes int64
	// MaxBytes is how much the layers of the store may take.
	MaxBytes int64
	// MaxAge is how long a layer stays that nobody reads, CoveredAge a covered one; 0 is for ever.
	MaxAge, CoveredAge time.Duration
	// ReserveBytes is what of each tenant goes last; default the size of its largest layer.
	ReserveBytes int64
}

// Disk is what the layers are on.
type Disk struct {
	// Total and Avail are the disk's bytes, 0 if they are not known; Layers is what all layer files take, those too that may not
	// leave.
	Total, Avail, Layers int64
}

// Excess is how many bytes are too many.
func (l *Limits) Excess(d Disk) (excess int64) {
	if l.MaxUsagePct > 0 && d.Total > 0 {
		// A hundredth first: the product of the two may be too large.
		allowed := d.Total/100*int64(l.MaxUsagePct) + d.Total%100*int64(l.MaxUsagePct)/100
		excess = max(excess, d.Total-d.Avail-allowed)
	}
	if l.MinAvailBytes > 0 && d.Total > 0 {
		excess = max(excess, l.MinAvailBytes-d.Avail)
	}
	if l.MaxBytes > 0 {
		excess = max(excess, d.Layers-l.MaxBytes)
	}
	return excess
}

// Reason says why a layer is evicted.
type Reason string

// The reasons.
const (
	Age      Reason = "age"      // nobody has read it for too long
	Covered  Reason = "covered"  // for space, and newer images hide it
	Idle     Reason = "idle"     // for space: others were read later
	Reserved Reason = "reserved" // for space, and nothing was left but what a tenant needs
)

// Choice is a layer to be evicted, by its place in the snapshot.
type Choice struct {
	Layer  int
	Reason Reason
}

// Plan chooses layers: those that are too old, and then as many as bring the disk below its limits. short is how many bytes
// are lacking even without all of them.
func Plan(layers []Layer, l Limits, d Disk, now time.Time) (chosen []Choice, short int64) {
	need := l.Excess(d)
	var rest []int
	for i := range layers {
		if idle := now.Sub(layers[i].Used); l.MaxAge > 0 && idle > l.MaxAge || layers[i].Covered && l.CoveredAge > 0 && idle > l.CoveredAge {
			chosen = append(chosen, Choice{i, Age})
			need -= layers[i].Size
		} else {
			rest = append(rest, i)
		}
	}
	if need <= 0 {
		return chosen, 0
	}
	for _, r := range order(layers, rest, l.ReserveBytes) {
		if need <= 0 {
			break
		}
		chosen = append(chosen, Choice{r.layer, r.reason()})
		need -= layers[r.layer].Size
	}
	return chosen, max(need, 0)
}

// ranked is a layer with its place among those of its tenant.
type ranked struct {
	layer int
	class int
	// recent is the share of the tenant's layers that were not read later, of place and count.
	place, count int
}

// Classes in the order in which they go.
const (
	classCovered = iota
	classIdle
	classReserved
)

func (r *ranked) reason() Reason {
	return [...]Reason{classCovered: Covered, classIdle: Idle, classReserved: Reserved}[r.class]
}

// order gives layers in the order in which they go.
func order(layers []Layer, some []int, reserve int64) []ranked {
	tenants := map[int][]int{}
	for _, i := range some {
		tenants[layers[i].Tenant] = append(tenants[layers[i].Tenant], i)
	}
	out := make([]ranked, 0, len(some))
	for _, own := range tenants {
		out = append(out, rank(layers, own, reserve)...)
	}
	slices.SortFunc(out, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(a.class, b.class),
			cmp.Compare(int64(a.place)*int64(b.count), int64(b.place)*int64(a.count)), // place/count
			-cmp.Compare(a.count, b.count),                                            // who has more loses first
			cmp.Compare(layers[a.layer].Tenant, layers[b.layer].Tenant), cmp.Compare(a.layer, b.layer))
	})
	return out
}

// rank ranks the layers of one tenant, the most recently read one highest.
func rank(layers []Layer, own []int, reserve int64) []ranked {
	slices.SortFunc(own, func(a, b int) int {
		return cmp.Or(layers[b].Used.Compare(layers[a].Used), cmp.Compare(a, b))
	})
	if reserve == 0 {
		for _, i := range own {
			reserve = max(reserve, layers[i].Size)
		}
	}
	out := make([]ranked, len(own))
	for n, i := range own {
		out[n] = ranked{layer: i, class: classIdle, place: len(own) - n, count: len(own)}
		switch {
		case layers[i].Covered:
			out[n].class = classCovered
		case layers[i].Size <= reserve:
			out[n].class = classReserved
			reserve -= layers[i].Size
		default:
			reserve = 0 // what is less recent does not overtake
		}
	}
	return out
}
