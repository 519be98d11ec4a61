package page

import (
	"encoding/hex"
	"fmt"
)

// TenantID names a PostgreSQL cluster's owner; TimelineID one line of its history. Both are 16 bytes,
// written as 32 lower-case hex digits.
type (
	TenantID   [16]byte
	TimelineID [16]byte
)

// String gives 32 lower-case hex digits.
func (t TenantID) String() string { return hex.EncodeToString(t[:]) }

// String gives 32 lower-case hex digits.
func (t TimelineID) String() string { return hex.EncodeToString(t[:]) }

// MarshalText gives the hex form.
func (t TenantID) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// MarshalText gives the hex form.
func (t TimelineID) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads the hex form.
func (t *TenantID) UnmarshalText(b []byte) error {
	v, err := parseID("tenant", string(b))
	*t = v
	return err
}

// UnmarshalText reads the hex form.
func (t *TimelineID) UnmarshalText(b []byte) error {
	v, err := parseID("timeline", string(b))
	*t = v
	return err
}

// ParseTenantID reads 32 hex digits of either case.
func ParseTenantID(s string) (TenantID, error) { return parseID("tenant", s) }

// ParseTimelineID reads 32 hex digits of either case.
func ParseTimelineID(s string) (TimelineID, error) { return parseID("timeline", s) }

func parseID(what, s string) (id [16]byte, err error) {
	if len(s) != 2*len(id) {
		return id, fmt.Errorf("%s id %q: %d characters, want %d hex digits", what, s, len(s), 2*len(id))
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return [16]byte{}, fmt.Errorf("%s id %q: %w", what, s, err)
	}
	return id, nil
}
