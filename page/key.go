package page

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// KeySize is the length of a key's binary form.
const KeySize = 18

// Key names one versioned value. Keys order field by field, which is the byte order of the binary form:
//
//	offset 0      1           5           9           13     14
//	      +------+-----------+-----------+-----------+------+-----------+
//	      | F1 u8| F2 u32 BE | F3 u32 BE | F4 u32 BE | F5 u8| F6 u32 BE |
//	      +------+-----------+-----------+-----------+------+-----------+
//
// Source: Neon, libs/pageserver_api/src/key.rs.
type Key struct {
	F1 uint8
	F5 uint8
	F2 uint32
	F3 uint32
	F4 uint32
	F6 uint32
}

// MinKey and MaxKey bound the key space. MaxKey itself is never stored, as ranges are half open.
var (
	MinKey = Key{}
	MaxKey = Key{F1: 0xFF, F2: 0xFFFFFFFF, F3: 0xFFFFFFFF, F4: 0xFFFFFFFF, F5: 0xFF, F6: 0xFFFFFFFF}
)

func (k Key) hi() uint64  { return uint64(k.F1)<<32 | uint64(k.F2) }
func (k Key) mid() uint64 { return uint64(k.F3)<<32 | uint64(k.F4) }
func (k Key) lo() uint64  { return uint64(k.F5)<<32 | uint64(k.F6) }

// Compare returns -1, 0 or 1.
func (k Key) Compare(o Key) int {
	a, b := k.hi(), o.hi()
	if a == b {
		if a, b = k.mid(), o.mid(); a == b {
			if a, b = k.lo(), o.lo(); a == b {
				return 0
			}
		}
	}
	if a < b {
		return -1
	}
	return 1
}

// Less reports whether k orders before o.
func (k Key) Less(o Key) bool { return k.Compare(o) < 0 }

// Next is the smallest key above k. The next of MaxKey is MaxKey.
func (k Key) Next() Key { return k.Add(1) }

// Add adds n to the last field and carries upward field by field; it stops at MaxKey.
func (k Key) Add(n uint32) Key {
	f6 := k.F6 + n
	carry := f6 < k.F6
	k.F6 = f6
	if !carry {
		return k
	}
	if k.F5++; k.F5 != 0 {
		return k
	}
	if k.F4++; k.F4 != 0 {
		return k
	}
	if k.F3++; k.F3 != 0 {
		return k
	}
	if k.F2++; k.F2 != 0 {
		return k
	}
	if k.F1++; k.F1 != 0 {
		return k
	}
	return MaxKey
}

// Put writes the 18-byte form into b, which must be that long.
func (k Key) Put(b []byte) {
	_ = b[KeySize-1]
	b[0] = k.F1
	binary.BigEndian.PutUint32(b[1:], k.F2)
	binary.BigEndian.PutUint32(b[5:], k.F3)
	binary.BigEndian.PutUint32(b[9:], k.F4)
	b[13] = k.F5
	binary.BigEndian.PutUint32(b[14:], k.F6)
}

// Append appends the 18-byte form.
func (k Key) Append(b []byte) []byte {
	var t [KeySize]byte
	k.Put(t[:])
	return append(b, t[:]...)
}

// KeyFromBytes reads the 18-byte form from the start of b, which must be at least that long.
func KeyFromBytes(b []byte) Key {
	_ = b[KeySize-1]
	return Key{
		F1: b[0],
		F2: binary.BigEndian.Uint32(b[1:]),
		F3: binary.BigEndian.Uint32(b[5:]),
		F4: binary.BigEndian.Uint32(b[9:]),
		F5: b[13],
		F6: binary.BigEndian.Uint32(b[14:]),
	}
}

// String gives the 36 upper-case hex digits of the binary form.
func (k Key) String() string {
	return fmt.Sprintf("%02X%08X%08X%08X%02X%08X", k.F1, k.F2, k.F3, k.F4, k.F5, k.F6)
}

// ParseKey reads 36 hex digits of either case.
func ParseKey(s string) (Key, error) {
	if len(s) != 2*KeySize {
		return Key{}, fmt.Errorf("key %q: %d characters, want %d hex digits", s, len(s), 2*KeySize)
	}
	var b [KeySize]byte
	if _, err := hex.Decode(b[:], []byte(s)); err != nil {
		return Key{}, fmt.Errorf("key %q: %w", s, err)
	}
	return KeyFromBytes(b[:]), nil
}

// MarshalText gives the hex form.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads the hex form.
func (k *Key) UnmarshalText(b []byte) error {
	v, err := ParseKey(string(b))
	if err != nil {
		return err
	}
	*k = v
	return nil
}

// Storable reports whether a value may be written under k: Neon's engine folds keys into 127 bits and can
// hold only such second fields (is_i128_representable). MaxKey is never stored.
func (k Key) Storable() bool {
	if k == MaxKey || k.F1 > 0x7F {
		return false
	}
	return k.F2 <= 0xFFFF || k.F2 == 0xFFFFFFFF || k.F2 == 0x22222222
}

// Sparse reports whether k lies in the metadata key space, where an absent key is no error and an empty
// image means "removed".
func (k Key) Sparse() bool { return k.F1 >= sparseBegin && k.F1 < sparseEnd }

// Range is a half-open span of keys.
type Range struct{ Start, End Key }

// FullRange spans every storable key.
var FullRange = Range{MinKey, MaxKey}

// Contains reports whether k lies in r.
func (r Range) Contains(k Key) bool { return !k.Less(r.Start) && k.Less(r.End) }

// Empty reports whether nothing lies in r.
func (r Range) Empty() bool { return !r.Start.Less(r.End) }

// Overlaps reports whether some key lies in both.
func (r Range) Overlaps(o Range) bool { return r.Start.Less(o.End) && o.Start.Less(r.End) }

// Covers reports whether every key of o lies in r.
func (r Range) Covers(o Range) bool { return !o.Start.Less(r.Start) && !r.End.Less(o.End) }

// Intersect gives the keys in both; it may be empty.
func (r Range) Intersect(o Range) Range {
	if r.Start.Less(o.Start) {
		r.Start = o.Start
	}
	if o.End.Less(r.End) {
		r.End = o.End
	}
	return r
}

// String gives "start-end" in hex, as in layer file names.
func (r Range) String() string { return r.Start.String() + "-" + r.End.String() }
