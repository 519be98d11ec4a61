package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTimeForms shows what a time may look like.
func TestTimeForms(t *testing.T) {
	local := func(s string) time.Time {
		at, err := time.ParseInLocation("2006-01-02 15:04:05", s, time.Local)
		require.NoError(t, err)
		return at
	}
	for s, want := range map[string]time.Time{
		"2026-01-02":                       local("2026-01-02 00:00:00"),
		"2026-01-02 03:04":                 local("2026-01-02 03:04:00"),
		"2026-01-02T03:04:05":              local("2026-01-02 03:04:05"),
		"2026-01-02T03:04:05Z":             time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		"2026-01-02 03:04:05.123456+02":    time.Date(2026, 1, 2, 1, 4, 5, 123456000, time.UTC),
		"2026-01-02 03:04:05.5 -03:30":     time.Date(2026, 1, 2, 6, 34, 5, 500000000, time.UTC),
		"2026-01-02 03:04+00":              time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC),
		"2026-01-02T03:04:05.000001+05:00": time.Date(2026, 1, 1, 22, 4, 5, 1000, time.UTC),
	} {
		var v timeValue
		require.NoError(t, v.Set(s), s)
		require.True(t, want.Equal(v.at), "%s is %s", s, v.at)
	}
	for _, s := range []string{"", "noon", "2026-13-01", "12:00", "2026-01-02 3", "2026-01-02 03:04:05 CET"} {
		var v timeValue
		require.Error(t, v.Set(s), s)
	}
}
