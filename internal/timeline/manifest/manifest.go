// Package manifest keeps the local truth of one timeline: which layers there are and how long each is,
// where the timeline comes from, and up to which LSN it is durable. It is one file, MANIFEST, of edits that
// are only appended, each with a checksum, and with a seal behind it once it is durable. When the edits
// outgrow the state they describe, the file is written anew and replaced in one step. The format is
// described in docs/formats/manifest.md.
//
// What is published is durable on return. A Log belongs to one goroutine at a time.
package manifest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/stratapg/strata/internal/sorted"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
)

// FileName is the manifest's name in its timeline's directory.
const FileName = "MANIFEST"

// ErrCorrupt marks a manifest that cannot be what was written. The error names file and offset.
var ErrCorrupt = errors.New("corrupt manifest")

// Meta is what a timeline is born with.
type Meta struct {
	Tenant   page.TenantID
	Timeline page.TimelineID
	// Shard is which of the tenant's it is; zero if the tenant is not sharded.
	Shard      page.ShardIdentity
	Name       string
	Version    pg.Version
	Flavour    pg.Flavour
	Checksums  bool // data checksums
	HintBits   bool // hint bits are WAL-logged: checksums or wal_log_hints
	WALSegSize uint32
	SystemID   uint64
	InitialLSN page.LSN
	// Ancestor is where a branch comes from; AncestorLSN 0 says that there is none.
	Ancestor    page.TimelineID
	AncestorLSN page.LSN
	// RelDirs is how the timeline says which relations there are, and RelDirsWanted how it is to do so from its next record on:
	// page.RelDirV1 if as before. Unlike the rest these may change.
	RelDirs       page.RelDirs
	RelDirsWanted page.RelDirForm
}

// Owner is the tenant, or the shard of it, whose timeline it is.
func (m *Meta) Owner() page.TenantShardID {
	return page.TenantShardID{Tenant: m.Tenant, Shard: m.Shard.ShardIndex}
}

// State is everything a manifest says.
type State struct {
	Meta
	Lineage Lineage
	// DiskConsistentLSN is the last LSN that is durable, PrevRecordLSN where the record ending there begins
	// (0 if unknown).
	DiskConsistentLSN page.LSN
	PrevRecordLSN     page.LSN
	// Cutoff is the oldest LSN that can be read in this timeline's own layers.
	Cutoff page.LSN
	// Layers are in the order of Desc: keys, LSNs, deltas before images.
	Layers []layer.Desc
	// Moved says of some of them, in the same order, which of their keys other layers hold too.
	Moved []Moved
	// Chains says of some deltas, in the same order, how many records of a key follow each other there.
	Chains []Chains
	// Remote says of some of them, in the same order, that remote storage has them.
	Remote []Remote
}

// Remote is a layer that remote storage has for good, so that its file need not be here.
type Remote struct {
	Layer layer.Desc // without size
	// Sum is the XXH64 of the whole file, 0 if unknown.
	Sum uint64
	// Shard is whose object it is, number and count in a byte each: the timeline's own, or one from which that was split.
	// It is 0 if it belongs to no shard.
	Shard uint16
}

// Moved are keys whose values in a layer also lie in other layers of the timeline, because a compaction of it
// was published in part: only the layer's other keys still need it. Keys are sorted and disjoint.
type Moved struct {
	Layer layer.Desc // without size
	Keys  []page.Range
}

// Edit is one change, published in one step. Zeros mean "as before".
type Edit struct {
	Add, Remove []layer.Desc
	// Moved adds to the moved keys of layers that are there after the edit. Those of a layer go with it.
	Moved []Moved
	// Chains tells of deltas that are there after the edit. What it says of a layer goes with it.
	Chains []Chains
	// Position, if set, moves DiskConsistentLSN and PrevRecordLSN.
	Position *Position
	Cutoff   page.LSN
	// Remote adds what is known of layers that are there after the edit. That of a layer goes with it.
	Remote []Remote
	// Descent, if set, says where the timeline comes from.
	Descent *Descent
	// RelDirs, if set, replaces how relations are listed.
	RelDirs *RelDirs
}

// RelDirs is Meta's RelDirs and RelDirsWanted.
type RelDirs struct {
	page.RelDirs
	Wanted page.RelDirForm
}

// Position is how far a timeline is durable.
type Position struct{ DiskConsistentLSN, PrevRecordLSN page.LSN }

// MaxNameLen is the longest name of a timeline, in bytes.
const MaxNameLen = 255

// CheckName says what is wrong with the name of a timeline.
func CheckName(name string) error {
	if name == "" {
		return errors.New("the timeline has no name")
	}
	if len(name) > MaxNameLen {
		return fmt.Errorf("timeline name of %d bytes: at most %d", len(name), MaxNameLen)
	}
	if !utf8.ValidString(name) || slices.ContainsFunc([]rune(name), func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("timeline name %q: holds a character that does not print", name)
	}
	if _, err := page.ParseTimelineID(name); err == nil {
		return fmt.Errorf("timeline name %q: looks like an id", name)
	}
	return nil
}

// layerID is what makes two descriptors mean one layer.
type layerID struct {
	keys  page.Range
	lsns  page.LSNRange
	image bool
}

func idOf(d layer.Desc) layerID { return layerID{d.Keys, d.LSNs, d.Image} }

// live is a State that can be changed step by step. Its map shares what it can with those that readers have.
type live struct {
	State
	layers *layer.Map
	moved  map[layerID]page.Set
	chains map[layerID]page.Chains
	remote *sorted.Set[remoteFile]
}

func newLive(s State) (*live, error) {
	for _, d := range s.Layers {
		if err := checkLayer(d); err != nil {
			return nil, err
		}
	}
	m, err := layer.NewMap(s.Layers)
	if err != nil {
		return nil, err
	}
	l := &live{State: s, layers: m, moved: map[layerID]page.Set{}, chains: make(map[layerID]page.Chains, len(s.Chains)), remote: sorted.New(compareRemote)}
	l.Layers, l.Moved, l.Chains, l.Remote = nil, nil, nil, nil
	e := &Edit{Moved: s.Moved, Chains: s.Chains, Remote: s.Remote}
	if m, err = l.check(e); err != nil {
		return nil, err
	}
	e.Remote = nil
	l.apply(e, m)
	l.remote = remoteFiles(s.Remote)
	return l, nil
}

func (l *live) clone() *live {
	c := *l
	c.chains = maps.Clone(l.chains)
	c.moved, c.remote = maps.Clone(l.moved), l.remote.Clone()
	return &c
}

// check says why e does not fit, and changes nothing. If it fits it gives the layers after it.
func (l *live) check(e *Edit) (*layer.Map, error) {
	for _, d := range e.Add {
		if err := checkLayer(d); err != nil {
			return nil, err
		}
	}
	m, err := l.layers.Apply(e.Add, e.Remove)
	if err != nil {
		return nil, err
	}
	for i := range e.Moved {
		x := &e.Moved[i]
		if _, there := m.Find(x.Layer); !there {
			return nil, fmt.Errorf("keys of layer %s have moved, and it is not there", x.Layer.Name())
		}
		for _, r := range x.Keys {
			if r.Empty() || !x.Layer.Keys.Covers(r) {
				return nil, fmt.Errorf("keys %s have moved from layer %s, which cannot have them", r, x.Layer.Name())
			}
		}
	}
	if err := checkChains(e, m); err != nil {
		return nil, err
	}
	for i := range e.Remote {
		x := &e.Remote[i]
		if d, there := m.Find(x.Layer); !there || d.Generation != x.Layer.Generation {
			return nil, fmt.Errorf("layer %s is said to be in remote storage, and it is not there", x.Layer.FileName())
		}
	}
	if d := e.RelDirs; d != nil && !(d.Form.Known() && d.Wanted.Known()) {
		return nil, fmt.Errorf("directories of relations %s, and %s wanted", d.Form, d.Wanted)
	}
	if p := e.Position; p != nil && p.DiskConsistentLSN < l.DiskConsistentLSN {
		return nil, fmt.Errorf("disk_consistent_lsn would go back from %s to %s", l.DiskConsistentLSN, p.DiskConsistentLSN)
	}
	return m, nil
}

func checkLayer(d layer.Desc) error {
	if d.Keys.Empty() || d.LSNs.Empty() || d.Size <= 0 || d.Image && d.LSNs.End != d.LSNs.Start+1 {
		return fmt.Errorf("layer %s of %d bytes: no layer can have such bounds", d.Name(), d.Size)
	}
	return nil
}

// apply changes l by an edit that check has passed; layers is what check gave.
func (l *live) apply(e *Edit, layers *layer.Map) {
	l.layers = layers
	for _, d := range e.Remove {
		delete(l.moved, idOf(d))
		delete(l.chains, idOf(d))
		f := remoteOf(&d)
		l.remote.Delete(&f)
	}
	if e.Position != nil {
		l.DiskConsistentLSN, l.PrevRecordLSN = e.Position.DiskConsistentLSN, e.Position.PrevRecordLSN
	}
	if e.Cutoff != 0 {
		l.Cutoff = e.Cutoff
	}
	if e.RelDirs != nil {
		l.RelDirs, l.RelDirsWanted = e.RelDirs.RelDirs, e.RelDirs.Wanted
	}
	if d := e.Descent; d != nil {
		l.Ancestor, l.AncestorLSN, l.InitialLSN, l.Lineage = d.Ancestor, d.AncestorLSN, d.InitialLSN, d.Lineage
	}
	for _, m := range e.Moved {
		l.moved[idOf(m.Layer)] = l.moved[idOf(m.Layer)].Union(page.NewSet(m.Keys...))
	}
	for i := range e.Chains {
		l.chains[idOf(e.Chains[i].Layer)] = e.Chains[i].Chains
	}
	for i := range e.Remote {
		f := remoteOf(&e.Remote[i].Layer)
		f.sum, f.shard = e.Remote[i].Sum, e.Remote[i].Shard
		l.remote.Put(f)
	}
}

// state gives a copy with the layers in order.
func (l *live) state() State {
	s := l.State
	s.Layers = slices.SortedFunc(l.layers.All(), compareLayers)
	s.Chains = l.chainsOf(s.Layers)
	if len(l.moved)+l.remote.Len() == 0 {
		return s
	}
	for _, d := range s.Layers {
		id := idOf(d)
		d.Size = 0
		if keys := l.moved[id]; !keys.Empty() {
			s.Moved = append(s.Moved, Moved{d, keys.Ranges()})
		}
		f := remoteOf(&d)
		if r, ok := l.remote.Find(&f); ok {
			s.Remote = append(s.Remote, Remote{d, r.sum, r.shard})
		}
	}
	return s
}

func compareLayers(a, b layer.Desc) int {
	if c := a.Keys.Start.Compare(b.Keys.Start); c != 0 {
		return c
	}
	if c := a.Keys.End.Compare(b.Keys.End); c != 0 {
		return c
	}
	for _, p := range [...][2]page.LSN{{a.LSNs.Start, b.LSNs.Start}, {a.LSNs.End, b.LSNs.End}} {
		if p[0] != p[1] {
			if p[0] < p[1] {
				return -1
			}
			return 1
		}
	}
	switch {
	case a.Image == b.Image:
		return 0
	case b.Image:
		return -1
	}
	return 1
}
