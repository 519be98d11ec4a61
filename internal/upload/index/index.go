// Package index reads and writes index_part.json, the document by which Neon's remote storage says what a
// timeline consists of: its layers, where it branches from, and up to which LSN it is durable.
//
// Shapes and names are those of Neon's index version 15 (pageserver/src/tenant/remote_timeline_client/index.rs
// and metadata.rs); older versions differ by fields that are absent and by the form of the metadata, and both
// forms are read. The version number is kept as it was read, as Neon does. Fields that are not known here are
// kept too, so that rewriting a document that a newer Neon wrote loses nothing.
//
// A document comes from a bucket that others write to: whatever cannot be is an error that names the field.
package index

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// Version is that of documents made here.
const Version = 15

// MaxSize bounds a document, in bytes: some 150 bytes a layer, so several millions of them.
const MaxSize = 1 << 30

// Part is one index_part.json.
type Part struct {
	Version int
	// Layers, with the object in remote storage that each is.
	Layers Layers
	// Metadata is what a timeline is born with and how far it is durable.
	Metadata Metadata
	// DeletedAt, ArchivedAt and InvisibleAt are zero where that has not happened. A timeline with DeletedAt is
	// on its way out and must not be opened.
	DeletedAt, ArchivedAt, InvisibleAt time.Time
	// Origin is what Strata needs beside that; nil in an index that Neon wrote.
	Origin *Origin
	// Rest holds every other field as it was read: lineage, gc_blocking, gc_compaction, rel_size_migration, …
	Rest map[string]json.RawMessage
}

// Metadata is the part that older versions kept in a file of its own.
type Metadata struct {
	DiskConsistentLSN page.LSN         `json:"disk_consistent_lsn"`
	PrevRecordLSN     *page.LSN        `json:"prev_record_lsn"`
	Ancestor          *page.TimelineID `json:"ancestor_timeline"`
	AncestorLSN       page.LSN         `json:"ancestor_lsn"`
	GCCutoffLSN       page.LSN         `json:"latest_gc_cutoff_lsn"`
	InitdbLSN         page.LSN         `json:"initdb_lsn"`
	// PgVersion is PostgreSQL's major version.
	PgVersion int `json:"pg_version"`
}

// Names of the document's fields that Part keeps apart from Rest.
const (
	fieldVersion     = "version"
	fieldLayers      = "layer_metadata"
	fieldDisk        = "disk_consistent_lsn"
	fieldMetadata    = "metadata_bytes"
	fieldMetadataOld = "metadata"
	fieldDeleted     = "deleted_at"
	fieldArchived    = "archived_at"
	fieldInvisible   = "marked_invisible_at"
	fieldOrigin      = "strata"
)

// New gives the index of a timeline that has nothing yet.
func New() *Part {
	return &Part{Version: Version, Rest: map[string]json.RawMessage{}}
}

// Parse reads a document.
func Parse(b []byte) (*Part, error) {
	if len(b) > MaxSize {
		return nil, fmt.Errorf("index_part.json of %d bytes: at most %d", len(b), MaxSize)
	}
	p := &Part{Rest: map[string]json.RawMessage{}}
	if err := json.Unmarshal(b, &p.Rest); err != nil {
		return nil, fmt.Errorf("index_part.json: %w", err)
	}
	if p.Rest == nil {
		return nil, errors.New("index_part.json: null")
	}
	if err := p.take(); err != nil {
		return nil, fmt.Errorf("index_part.json: %w", err)
	}
	return p, nil
}

// take moves the known fields out of Rest.
func (p *Part) take() error {
	var disk *page.LSN
	if err := p.field(fieldVersion, &p.Version); err != nil {
		return err
	}
	layers, ok := p.Rest[fieldLayers]
	delete(p.Rest, fieldLayers)
	if err := p.field(fieldDisk, &disk); err != nil {
		return err
	}
	if !ok || disk == nil {
		return fmt.Errorf("%s and %s must be there", fieldLayers, fieldDisk)
	}
	all, err := parseLayers(layers)
	if err != nil {
		return fmt.Errorf("%s: %w", fieldLayers, err)
	}
	p.Layers = *all
	if err := p.takeMetadata(); err != nil {
		return err
	}
	if err := p.field(fieldOrigin, &p.Origin); err != nil {
		return err
	}
	if *disk != p.Metadata.DiskConsistentLSN {
		return fmt.Errorf("%s is %s, that of the metadata %s", fieldDisk, *disk, p.Metadata.DiskConsistentLSN)
	}
	for name, at := range map[string]*time.Time{fieldDeleted: &p.DeletedAt, fieldArchived: &p.ArchivedAt, fieldInvisible: &p.InvisibleAt} {
		var d *naiveTime
		if err := p.field(name, &d); err != nil {
			return err
		}
		if d != nil {
			*at = time.Time(*d)
		}
	}
	return nil
}

// field decodes one field if it is there, and takes it out of Rest.
func (p *Part) field(name string, to any) error {
	raw, ok := p.Rest[name]
	if !ok {
		return nil
	}
	delete(p.Rest, name)
	if err := json.Unmarshal(raw, to); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (p *Part) takeMetadata() error {
	raw, ok := p.Rest[fieldMetadata]
	old, okOld := p.Rest[fieldMetadataOld]
	delete(p.Rest, fieldMetadata)
	delete(p.Rest, fieldMetadataOld)
	switch {
	case ok && okOld:
		return fmt.Errorf("%s and %s are both there", fieldMetadata, fieldMetadataOld)
	case okOld:
		raw = old
	case !ok:
		return fmt.Errorf("%s is missing", fieldMetadata)
	}
	var err error
	if bytes.HasPrefix(bytes.TrimSpace(raw), []byte("[")) {
		p.Metadata, err = parseBinary(raw)
	} else {
		err = json.Unmarshal(raw, &p.Metadata)
	}
	if err == nil {
		err = p.Metadata.check()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", fieldMetadata, err)
	}
	return nil
}

func (m *Metadata) check() error {
	if m.Ancestor == nil && m.AncestorLSN != page.InvalidLSN {
		return fmt.Errorf("ancestor_lsn is %s, and there is no ancestor_timeline", m.AncestorLSN)
	}
	if m.Ancestor != nil && m.AncestorLSN == page.InvalidLSN {
		return fmt.Errorf("ancestor_timeline is %s, and there is no ancestor_lsn", *m.Ancestor)
	}
	return nil
}

// Descs gives the layers as descriptions.
func (p *Part) Descs() []layer.Desc {
	out := make([]layer.Desc, 0, p.Layers.Len())
	for l := range p.Layers.All() {
		out = append(out, l.Desc)
	}
	return out
}

// Encode writes the document in compact JSON.
func (p *Part) Encode() ([]byte, error) {
	out := make(map[string]any, len(p.Rest)+8)
	for name, raw := range p.Rest {
		out[name] = raw
	}
	out[fieldVersion], out[fieldMetadata] = p.Version, p.Metadata
	out[fieldDisk] = p.Metadata.DiskConsistentLSN
	for name, at := range map[string]time.Time{fieldDeleted: p.DeletedAt, fieldArchived: p.ArchivedAt, fieldInvisible: p.InvisibleAt} {
		if !at.IsZero() {
			out[name] = naiveTime(at)
		}
	}
	if p.Origin != nil {
		out[fieldOrigin] = p.Origin
	}
	b, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("index_part.json: %w", err)
	}
	// The layers, of which there may be very many, go before the rest without any detour.
	whole := p.Layers.append([]byte(`{"` + fieldLayers + `":`))
	return append(append(whole, ','), b[1:]...), nil
}

// naiveTime is UTC without a zone, as chrono's NaiveDateTime writes it.
type naiveTime time.Time

const naiveForm = "2006-01-02T15:04:05.999999999"

func (t naiveTime) MarshalText() ([]byte, error) {
	return []byte(time.Time(t).UTC().Format(naiveForm)), nil
}

func (t *naiveTime) UnmarshalText(b []byte) error {
	v, err := time.Parse(naiveForm, string(b))
	*t = naiveTime(v)
	return err
}
