package trace

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/stratapg/strata/page"
)

const (
	magic     = "strata-trace 1"
	endOfFile = "end"
	// maxLine bounds a line: a header of a million regions is shorter.
	maxLine = 128 << 20
	// MaxRecords is how many records a trace may have: a replay numbers them with 31 bits and keeps them in memory.
	MaxRecords = 1 << 30
)

// Header says what a trace is of.
type Header struct {
	Source string `json:"source"`
	// From and To are the LSNs between which the records lie.
	From page.LSN `json:"from"`
	To   page.LSN `json:"to"`
	// Preload says that all keys were there before the first record.
	Preload bool     `json:"preload,omitempty"`
	Regions []Region `json:"regions"`
}

// Region is a stretch of keys. Those of metadata are numbered anew, in their order.
type Region struct {
	First  string `json:"first"` // as hexadecimal digits
	Keys   uint32 `json:"keys"`
	Sparse bool   `json:"sparse,omitempty"`
}

// Record is one change.
type Record struct {
	Region, Place, Size uint32
	Init                bool
}

// Trace is a whole one.
type Trace struct {
	Header
	Records []Record
	// Bytes is the size of all records.
	Bytes int64
}

// Write writes a trace.
func (t *Trace) Write(w io.Writer) error {
	b := bufio.NewWriter(w)
	head, err := json.Marshal(&t.Header)
	if err != nil {
		return err
	}
	fmt.Fprintf(b, "%s\n%s\n", magic, head)
	var line []byte
	for _, r := range t.Records {
		init := byte('0')
		if r.Init {
			init = '1'
		}
		line = strconv.AppendUint(line[:0], uint64(r.Region), 10)
		line = strconv.AppendUint(append(line, ' '), uint64(r.Place), 10)
		line = strconv.AppendUint(append(line, ' '), uint64(r.Size), 10)
		line = append(line, ' ', init, '\n')
		b.Write(line)
	}
	fmt.Fprintf(b, "%s %d\n", endOfFile, len(t.Records))
	return b.Flush()
}

// Read reads a trace and checks it.
func Read(r io.Reader) (*Trace, error) {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 1<<16), maxLine)
	if !s.Scan() || s.Text() != magic {
		return nil, errors.Join(fmt.Errorf("line 1: this is no trace, which begins with %q", magic), s.Err())
	}
	t := &Trace{}
	if !s.Scan() {
		return nil, errors.Join(errors.New("line 2: the header is missing"), s.Err())
	}
	if err := json.Unmarshal(s.Bytes(), &t.Header); err != nil {
		return nil, fmt.Errorf("line 2: %w", err)
	}
	for n := 3; s.Scan(); n++ {
		end, err := t.line(s.Text())
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if end {
			return t, s.Err()
		}
	}
	return nil, errors.Join(fmt.Errorf("the trace is cut off after %d records", len(t.Records)), s.Err())
}

// line takes a record, or the end.
func (t *Trace) line(text string) (end bool, err error) {
	if count, ok := strings.CutPrefix(text, endOfFile+" "); ok {
		if count != strconv.Itoa(len(t.Records)) {
			return false, fmt.Errorf("there are %d records and the end says %s", len(t.Records), count)
		}
		return true, nil
	}
	var v [4]uint32
	rest := text
	for i := range v {
		word, after, more := strings.Cut(rest, " ")
		n, err := strconv.ParseUint(word, 10, 32)
		if err != nil || more != (i < len(v)-1) {
			return false, fmt.Errorf("%.60q is no record: four numbers are expected", text)
		}
		v[i], rest = uint32(n), after
	}
	r := Record{v[0], v[1], v[2], v[3] == 1}
	switch {
	case int(r.Region) >= len(t.Regions) || r.Place >= t.Regions[r.Region].Keys:
		return false, fmt.Errorf("key %d of region %d: there is none", r.Place, r.Region)
	case r.Size == 0:
		return false, errors.New("a record of no bytes")
	case len(t.Records) == MaxRecords:
		return false, fmt.Errorf("more than %d records", MaxRecords)
	}
	t.Records = append(t.Records, r)
	t.Bytes += int64(r.Size)
	return false, nil
}
