package index

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/stratapg/strata/page"
)

// Layer is what the index says of one layer file.
type Layer struct {
	// Size is the object's length in bytes.
	Size int64
	// Generation is the writer's, 0 for files from before there were any.
	Generation uint32
	// Shard is the shard whose object it is, as four hex digits (number, count); empty if there are none.
	Shard string
	// Sum is the checksum of the whole file, 0 if it is not known. Neon writes none.
	Sum Sum
	// Trailer says that the file ends in Strata's checksums of its blocks.
	Trailer bool
	// Rest is an object of JSON with every other field, as it was read; empty if there are none.
	Rest string
}

// Sum is XXH64 with seed 0 of all bytes of a file.
type Sum uint64

const sumDigits = 16

// MarshalText writes 16 hex digits.
func (s Sum) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%0*x", sumDigits, uint64(s)), nil
}

// UnmarshalText reads them.
func (s *Sum) UnmarshalText(b []byte) error {
	v, err := strconv.ParseUint(string(b), 16, 64)
	if err != nil || len(b) != sumDigits {
		return fmt.Errorf("checksum is %.20q: want %d hex digits", b, sumDigits)
	}
	*s = Sum(v)
	return nil
}

// layerForm is a Layer as JSON has it.
type layerForm struct {
	Size       int64  `json:"file_size"`
	Generation uint32 `json:"generation,omitempty"`
	Shard      string `json:"shard,omitempty"`
	Sum        Sum    `json:"xxh64,omitempty"`
	Trailer    bool   `json:"trailer,omitempty"`
}

// layerFields are the names in layerForm.
var layerFields = []string{"file_size", "generation", "shard", "xxh64", "trailer"}

// MarshalJSON writes the known fields and then the others.
func (l Layer) MarshalJSON() ([]byte, error) {
	b, err := json.Marshal(layerForm{l.Size, l.Generation, l.Shard, l.Sum, l.Trailer})
	if err != nil || l.Rest == "" {
		return b, err
	}
	return append(append(b[:len(b)-1], ','), l.Rest[1:]...), nil
}

// UnmarshalJSON keeps what it does not know.
func (l *Layer) UnmarshalJSON(b []byte) error {
	var f layerForm
	if err := json.Unmarshal(b, &f); err != nil {
		return err
	}
	*l = Layer{f.Size, f.Generation, f.Shard, f.Sum, f.Trailer, ""}
	strict := json.NewDecoder(bytes.NewReader(b))
	strict.DisallowUnknownFields()
	if strict.Decode(&f) == nil {
		return nil
	}
	rest := map[string]json.RawMessage{}
	if err := json.Unmarshal(b, &rest); err != nil {
		return err
	}
	for _, name := range layerFields {
		delete(rest, name)
	}
	if len(rest) == 0 {
		return nil
	}
	r, err := json.Marshal(rest)
	l.Rest = string(r)
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
	// Moved are keys of layers that other layers hold too, by the layers' names; sorted and disjoint.
	Moved map[string][]page.Range `json:"moved,omitempty"`
}
