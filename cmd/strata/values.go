package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/stratapg/strata/page"
)

// lsnValue is an LSN flag; unset means "the last one".
type lsnValue struct {
	lsn page.LSN
	set bool
}

func (v *lsnValue) String() string {
	if !v.set {
		return ""
	}
	return v.lsn.String()
}
func (v *lsnValue) Type() string { return "LSN" }
func (v *lsnValue) Set(s string) (err error) {
	v.lsn, err = page.ParseLSN(s)
	v.set = err == nil
	return err
}

// sizeValue is a number of bytes, with KiB, MiB or GiB behind it if wanted.
type sizeValue int64

func (v *sizeValue) String() string {
	for _, u := range sizeUnits {
		if int64(*v) >= u.bytes && int64(*v)%u.bytes == 0 {
			return strconv.FormatInt(int64(*v)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(*v), 10)
}
func (v *sizeValue) Type() string { return "SIZE" }

var sizeUnits = []struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

func (v *sizeValue) Set(s string) error {
	digits, unit := s, int64(1)
	for _, u := range sizeUnits {
		if d, ok := strings.CutSuffix(s, u.name); ok {
			digits, unit = d, u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n <= 0 || n > math.MaxInt64/unit {
		return fmt.Errorf("size %q: want a positive number with KiB, MiB or GiB behind it, as in 256MiB", s)
	}
	*v = sizeValue(n * unit)
	return nil
}

// relValue is a relation's SPC/DB/REL.
type relValue struct{ tag page.RelTag }

func (v *relValue) String() string {
	if v.tag.Rel == 0 {
		return ""
	}
	return v.tag.String()
}
func (v *relValue) Type() string { return "SPC/DB/REL" }
func (v *relValue) Set(s string) error {
	var n [3]uint32
	parts := strings.Split(s, "/")
	if len(parts) != len(n) {
		return fmt.Errorf("relation %q: want tablespace, database and file number, as in 1663/5/16384", s)
	}
	for i, p := range parts {
		x, err := strconv.ParseUint(p, 10, 32)
		if err != nil {
			return fmt.Errorf("relation %q: %q is no number of up to 32 bits", s, p)
		}
		n[i] = uint32(x)
	}
	if n[2] == 0 {
		return fmt.Errorf("relation %q: no relation has the file number 0", s)
	}
	v.tag.Spc, v.tag.DB, v.tag.Rel = n[0], n[1], n[2]
	return nil
}

// forkValue is a fork by name.
type forkValue page.Fork

func (v *forkValue) String() string { return page.Fork(*v).String() }
func (v *forkValue) Type() string   { return "FORK" }
func (v *forkValue) Set(s string) error {
	for f := page.ForkMain; f <= page.ForkInit; f++ {
		if f.String() == s {
			*v = forkValue(f)
			return nil
		}
	}
	return fmt.Errorf("fork %q: want main, fsm, vm or init", s)
}
