// Package pageview shows a page of a relation to people: its header, its kind and its line pointers. It
// never fails on a damaged page; what makes no sense is shown as it is.
package pageview

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/stratapg/strata/page"
	"github.com/stratapg/strata/pg"
	"github.com/stratapg/strata/pg/bufpage"
	"github.com/stratapg/strata/pg/mask"
)

// View is a decoded page.
type View struct {
	LSN      page.LSN `json:"lsn"`
	Kind     string   `json:"kind"`
	Checksum uint16   `json:"checksum"`
	Flags    []string `json:"flags"`
	Lower    int      `json:"lower"`
	Upper    int      `json:"upper"`
	Special  int      `json:"special"`
	Layout   int      `json:"layout"`
	PruneXid uint32   `json:"prune_xid"`
	Items    []Item   `json:"items"`
}

// Item is a line pointer. A redirect's Offset is the number of another one.
type Item struct {
	Number int    `json:"number"`
	State  string `json:"state"`
	Offset int    `json:"offset"`
	Length int    `json:"length"`
}

var states = [...]string{bufpage.Unused: "unused", bufpage.Normal: "normal", bufpage.Redirect: "redirect", bufpage.Dead: "dead"}

// Decode reads a page of the given fork. p must be pg.BlockSize long.
func Decode(p []byte, fork page.Fork) (View, error) {
	b, err := bufpage.From(p)
	if err != nil {
		return View{}, err
	}
	kind := mask.KindOf(p, fork)
	v := View{
		LSN: b.LSN(), Kind: kind.String(), Checksum: b.StoredChecksum(), Flags: flagNames(b.Flags()),
		Lower: b.Lower(), Upper: b.Upper(), Special: b.SpecialOffset(), Layout: b.Layout(), PruneXid: b.PruneXid(),
		Items: []Item{},
	}
	if kind == mask.KindVM || kind == mask.KindFSM {
		return v, nil // maps have no line pointers
	}
	for n := 1; n <= b.MaxOffset(); n++ {
		id := b.ItemID(n)
		v.Items = append(v.Items, Item{n, states[id.Flags()], id.Offset(), id.Len()})
	}
	return v, nil
}

func flagNames(flags uint16) []string {
	names := []string{}
	for _, f := range []struct {
		bit  uint16
		name string
	}{{bufpage.HasFreeLines, "has-free-lines"}, {bufpage.PageFull, "page-full"}, {bufpage.AllVisible, "all-visible"}} {
		if flags&f.bit != 0 {
			names = append(names, f.name)
		}
	}
	return names
}

// JSON writes the page as one JSON object.
func JSON(w io.Writer, p []byte, fork page.Fork) error {
	v, err := Decode(p, fork)
	if err != nil {
		return err
	}
	return json.NewEncoder(w).Encode(v)
}

// Text writes the page as a table.
func Text(w io.Writer, p []byte, fork page.Fork) error {
	v, err := Decode(p, fork)
	if err != nil {
		return err
	}
	if bufpage.Page(p).IsZero() {
		_, err := fmt.Fprintf(w, "all %d bytes are zero: a page that was never written\n", pg.BlockSize)
		return err
	}
	fmt.Fprintf(w, "kind %s  lsn %s  checksum %04X  flags %v  lower %d  upper %d  special %d  layout %d  prune_xid %d\n",
		v.Kind, v.LSN, v.Checksum, v.Flags, v.Lower, v.Upper, v.Special, v.Layout, v.PruneXid)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "item\tstate\toffset\tlength\t")
	for _, i := range v.Items {
		fmt.Fprintf(t, "%d\t%s\t%d\t%d\t\n", i.Number, i.State, i.Offset, i.Length)
	}
	return t.Flush()
}
