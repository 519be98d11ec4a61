package index

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/stratapg/strata/internal/sorted"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/page"
)

// Layer is what the index says of one layer file.
type Layer struct {
	// Desc has the object's length, and the writer's generation, 0 for files from before there were any. Checked says that
	// the file ends in Strata's checksums of its blocks.
	Desc layer.Desc
	// Shard is the shard whose object it is, as four hex digits (number, count); empty if there are none.
	Shard string
	// Sum is the checksum of the whole file, 0 if it is not known. Neon writes none.
	Sum Sum
	// Rest is every other field of its object of JSON, as they were read, without the braces.
	Rest string
}

// Sum is XXH64 with seed 0 of all bytes of a file.
type Sum uint64

const sumDigits = 16

func parseSum(s string) (Sum, error) {
	v, err := strconv.ParseUint(s, 16, 64)
	if err != nil || len(s) != sumDigits {
		return 0, fmt.Errorf("checksum is %.20q: want %d hex digits", s, sumDigits)
	}
	return Sum(v), nil
}

// parseLayers reads layer_metadata.
func parseLayers(raw []byte) (*Layers, error) {
	s := &Layers{}
	var rows []row
	var again []byte
	err := eachField(raw, func(name string, value []byte) error {
		l, err := parseLayer(name, value)
		var r row
		if err == nil {
			r, err = packed(&l)
		}
		if again = r.appendName(again[:0]); err == nil && string(again) != name {
			err = errors.New("want a name without a generation")
		}
		if err != nil {
			return fmt.Errorf("layer %.200s: %w", name, err)
		}
		if rows = append(rows, r); l.Rest != "" {
			s.keep(&r, l.Rest)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var twice *row
	if s.rows, twice = sorted.Collect(compareRows, rows); twice != nil {
		return nil, fmt.Errorf("layer %s: it is there twice", twice.appendName(nil))
	}
	return s, nil
}

func parseLayer(name string, value []byte) (l Layer, err error) {
	if l.Desc, err = layer.ParseName(name); err != nil {
		return l, err
	}
	err = eachField(value, func(name string, value []byte) error {
		if err := l.field(name, value); err != nil {
			return fmt.Errorf("%.100s: %w", name, err)
		}
		return nil
	})
	return l, err
}

// field takes one field of a layer's object.
func (l *Layer) field(name string, value []byte) (err error) {
	switch name {
	case "file_size":
		l.Desc.Size, err = strconv.ParseInt(string(value), 10, 64)
	case "generation":
		var g uint64
		g, err = strconv.ParseUint(string(value), 10, 32)
		l.Desc.Generation = uint32(g)
	case "shard":
		l.Shard, err = text(value)
	case "xxh64":
		var s string
		if s, err = text(value); err == nil {
			l.Sum, err = parseSum(s)
		}
	case "trailer":
		err = json.Unmarshal(value, &l.Desc.Checked)
	default:
		if l.Rest != "" {
			l.Rest += ","
		}
		quoted, _ := json.Marshal(name) // a string can always be written
		l.Rest += string(quoted) + ":" + string(value)
	}
	return err
}

// Origin is what a manifest of Strata's has and Neon's index has no place for. Neon passes over it.
type Origin struct {
	Name       string   `json:"name"`
	Flavour    uint8    `json:"flavour"`
	WALSegSize uint32   `json:"wal_segment_size"`
	SystemID   uint64   `json:"system_id,string"`
	Checksums  bool     `json:"checksums"`
	HintBits   bool     `json:"hint_bits"`
	InitialLSN page.LSN `json:"initial_lsn"`
	Cutoff     page.LSN `json:"cutoff,omitempty"`
	// RelDirsWanted is how relations are to be listed from the next record on, by Neon's name; none if as before.
	RelDirsWanted page.RelDirForm `json:"rel_dirs_wanted,omitzero"`
	// Moved are keys of layers that other layers hold too, by the layers' names; sorted and disjoint.
	Moved map[string][]page.Range `json:"moved,omitempty"`
	// Import is there while the timeline is being imported.
	Import *Import `json:"import,omitempty"`
}
