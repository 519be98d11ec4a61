package layer

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stratapg/strata/page"
)

// TestChainsOfADelta: images and records that make their page anew begin a chain, the latter with themselves; metadata have
// none, and what is passed over is as if there were an image.
func TestChainsOfADelta(t *testing.T) {
	record := (&page.Value{Kind: page.KindPostgres, Bytes: []byte("r")}).Append(nil)
	image := (&page.Value{Kind: page.KindImage, Bytes: []byte("i")}).Append(nil)
	var c chainCounter
	lsn := page.LSN(0)
	add := func(k page.Key, values string) {
		for _, v := range values {
			lsn++
			key := deltaKey(&k, lsn)
			switch v {
			case 'r':
				c.add(&key, false, record)
			case 'n':
				c.add(&key, true, record)
			case 'i':
				c.add(&key, true, image)
			case '-':
				c.run = 0
			}
		}
	}
	at := func(n uint32) page.Key { return page.Key{F4: 1, F6: n} }
	add(at(1), "i")
	add(at(2), "r")
	add(at(30), "rrrirr")
	add(at(400), "irrnrrrr")
	add(at(50000), "rrr-rrrr-r")
	add(page.Key{F1: 0x61}, "rrrrrrrrr")
	require.Equal(t, page.Chains{Rest: 1, Long: []page.Chain{
		{Keys: page.Range{Start: at(30), End: at(31)}, Records: 3},
		{Keys: page.Range{Start: at(400), End: at(401)}, Records: 5},
		{Keys: page.Range{Start: at(50000), End: at(50001)}, Records: 4},
	}}, c.finish())
}
