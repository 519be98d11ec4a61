package layer

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
)

func TestNamesAreClassified(t *testing.T) {
	d := Desc{Keys: page.Range{Start: modelKey(1), End: modelKey(9)}, LSNs: page.LSNRange{Start: 0x10, End: 0x21}, Generation: 10}
	i := d
	i.Image, i.LSNs.End = true, 0x11
	for _, l := range []Desc{d, i} {
		kind, got := Classify(l.FileName())
		require.Equal(t, NameLayer, kind)
		require.Equal(t, l, got)
	}
	for name, want := range map[string]NameKind{
		d.FileName() + ".0.___temp": NameTemporary,
		i.Name() + ".1f.___temp":    NameTemporary,
		fmt.Sprintf("%s-XXX__%s-%s.0.___temp", d.Keys.Start, d.LSNs.Start.Hex(), d.LSNs.End.Hex()):                 NameTemporary,
		fmt.Sprintf("%s-XXX__%s-%s.0.___temp.index.0.___temp", d.Keys.Start, d.LSNs.Start.Hex(), d.LSNs.End.Hex()): NameTemporary,
		d.FileName() + ".1.temp_download": NameTemporary,
		"ephemeral-7":                     NameTemporary,
		"ephemeral-":                      NameForeign,
		"ephemeral-x7":                    NameForeign,
		d.FileName() + ".old":             NameForeign,
		d.Name():                          NameForeign,
		d.Name() + "-0000000a":            NameForeign,
		strings.ToLower(d.FileName()):     NameForeign,
		d.FileName()[1:]:                  NameForeign,
		"0" + d.FileName():                NameForeign,
		d.FileName() + "\n":               NameForeign,
		"":                                NameForeign,
		"README":                          NameForeign,
	} {
		kind, got := Classify(name)
		require.Equal(t, want, kind, name)
		require.Zero(t, got)
	}
}

// Neon takes these for layers, some for two kinds of them; they are neither.
func TestParserRefusesWhatNeonsTakes(t *testing.T) {
	i := Desc{Keys: page.FullRange, LSNs: page.LSNRange{Start: 0x10, End: 0x11}, Image: true, Generation: 0x20}
	for _, bad := range []string{
		i.FileName() + ".1.temp_download",
		i.FileName() + ".old",
		i.Name() + "-v",
		strings.Replace(i.Name(), "__0000000000000010", "__10", 1),
		strings.Replace(i.Name(), "FFFF", "ffff", 1),
		i.Name() + "-v1-0000002A",
		i.Name() + "-v2-00000020",
		i.Name() + "-20",
	} {
		_, err := ParseName(bad)
		require.ErrorIs(t, err, ErrBadName, bad)
	}
	// An image's remote name whose LSN is below its generation is an image all the same.
	d, err := ParseName(i.Name() + "-00000020")
	require.NoError(t, err)
	require.Equal(t, i, d)
}
