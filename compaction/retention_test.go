package compaction

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stratapg/strata/page"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// logged is a version of a key whose value is a log: a record appends a word, an image is a whole log.
type logged struct {
	Version
	word string
}

func (v logged) after(log string) string {
	switch {
	case v.Image:
		return v.word
	case v.WillInit:
		return "new," + v.word
	}
	return log + "," + v.word
}

// fold does the steps of r over a history as an executor does, and gives what is kept.
func fold(r *Retention, base string, history []logged, released []page.LSN) (kept []logged, mostHeld int, err error) {
	r.Reset(released)
	var held []logged
	log := base
	do := func(steps []Step, err error) error {
		for _, s := range steps {
			switch s.Do {
			case Skip:
				held = held[:len(held)-s.N]
			case Forget:
				held = held[s.N:]
			case Apply, Write:
				for _, v := range held[:s.N] {
					log = v.after(log)
					if s.Do == Write {
						kept = append(kept, v)
					}
				}
				held = held[s.N:]
			case PutImage:
				kept = append(kept, logged{Version{LSN: s.LSN, Image: true}, log})
			}
		}
		return err
	}
	for _, v := range history {
		held = append(held, v)
		mostHeld = max(mostHeld, len(held))
		if err := do(r.Add(v.Version)); err != nil {
			return nil, 0, err
		}
	}
	if err := do(r.Finish()); err != nil {
		return nil, 0, err
	}
	if len(held) > 0 {
		return nil, 0, errors.New("versions are left undecided")
	}
	return kept, mostHeld, nil
}

// history reads "10 init 20 30 40i": records and images by their LSNs.
func history(s string) (h []logged) {
	for _, f := range strings.Fields(s) {
		if f == "init" {
			h[len(h)-1].WillInit = true
			continue
		}
		v := logged{word: f}
		v.Image = strings.HasSuffix(f, "i")
		fmt.Sscanf(f, "%d", &v.LSN)
		h = append(h, v)
	}
	return h
}

func (v logged) String() string {
	if v.Image {
		return fmt.Sprintf("%di", v.LSN)
	}
	return fmt.Sprint(uint64(v.LSN))
}

// TestRetentionVectors has Neon's vectors a to d, and what is ours beside them.
func TestRetentionVectors(t *testing.T) {
	for _, c := range []struct {
		name, history string
		spec          FoldSpec
		maxRecords    int
		want          string
		values        map[page.LSN]string // of images
	}{
		{"a", "10 init 20 30 40 50 60 70 80i 90", FoldSpec{Horizon: 60, Retain: []page.LSN{20, 40, 50}}, 0,
			"[20i 30 40 50i 60 70 80i 90]", map[page.LSN]string{20: "new,10,20", 50: "new,10,20,30,40,50"}},
		{"b", "20 30 40i 50 60 70 80 90", FoldSpec{Horizon: 60, Retain: []page.LSN{40, 50}}, 0,
			"[40i 50 60 70 80 90]", map[page.LSN]string{40: "40i"}},
		{"c", "20 30 40 70", FoldSpec{Horizon: 60, Below: true}, 0, "[60i 70]", map[page.LSN]string{60: "base,20,30,40"}},
		{"d", "20 40 60 70", FoldSpec{Horizon: 60, Retain: []page.LSN{30}, Below: true}, 0,
			"[20 60i 70]", map[page.LSN]string{60: "base,20,40,60"}},
		{"nothing between two points", "10 init 60", FoldSpec{Horizon: 50, Retain: []page.LSN{20, 30}}, 0, "[20i 60]", nil},
		{"born above the horizon", "60 init 70", FoldSpec{Horizon: 50}, 0, "[60 70]", nil},
		{"what an image hides between two points", "10 init 20 21 22i 23 30", FoldSpec{Horizon: 40, Retain: []page.LSN{10, 25}}, 0, "[10i 22i 23 30]", nil},
		{"no more records than allowed", "10 init 20 30 40 50 60", FoldSpec{Horizon: 10}, 2, "[10i 20 30 40i 50 60]", nil},
		{"twice the same LSN", "10i 20 20 30", FoldSpec{Horizon: 10}, 0, "[10i 20 30]", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			kept, _, err := fold(NewRetention(&c.spec, 3, c.maxRecords), "base", history(c.history), nil)
			require.NoError(t, err)
			require.Equal(t, c.want, fmt.Sprint(kept))
			for _, v := range kept {
				if want, ok := c.values[v.LSN]; ok && v.Image {
					require.Equal(t, want, v.word)
				}
			}
		})
	}
}

// TestRetentionNeedsABase shows that a history without a beginning is an error where a read needs it, and no matter where none does.
func TestRetentionNeedsABase(t *testing.T) {
	spec := &FoldSpec{Horizon: 60, Retain: []page.LSN{30}}
	_, _, err := fold(NewRetention(spec, 3, 0), "", history("20 40i"), nil)
	require.ErrorIs(t, err, ErrIncomplete)
	_, _, err = fold(NewRetention(spec, 3, 0), "", history("70"), nil)
	require.ErrorIs(t, err, ErrIncomplete)
	_, _, err = fold(NewRetention(spec, 3, 0), "", history("40 30i"), nil)
	require.ErrorContains(t, err, "comes after")
	kept, _, err := fold(NewRetention(spec, 3, 0), "", history("20 40i"), []page.LSN{30})
	require.NoError(t, err, "nobody reads the key at 30")
	require.Equal(t, "[60i]", fmt.Sprint(kept))
	kept, _, err = fold(NewRetention(spec, 3, 0), "", history("20 40i 50 70"), []page.LSN{30, 60})
	require.NoError(t, err, "a branch was made at the horizon, and released the key since")
	require.Equal(t, "[60i 70]", fmt.Sprint(kept))
}

// readLog reads what versions give at an LSN.
func readLog(base string, vs []logged, at page.LSN) string {
	log := base
	for i, v := range vs {
		if v.LSN <= at && (i == 0 || vs[i-1].LSN != v.LSN) {
			log = v.after(log)
		}
	}
	return log
}

// TestRetentionKeepsWhatReadsSee shows for random histories that every read point reads the same before and after, and that what a read finds is bounded.
func TestRetentionKeepsWhatReadsSee(t *testing.T) {
	folded := 0
	checkMany(t, func(t *rapid.T) {
		const top = 60
		spec := &FoldSpec{Horizon: page.LSN(rapid.IntRange(1, top).Draw(t, "horizon")), Below: rapid.Bool().Draw(t, "below")}
		for lsn := page.LSN(1); lsn < spec.Horizon; lsn++ {
			if rapid.IntRange(0, 7).Draw(t, "retain") == 0 {
				spec.Retain = append(spec.Retain, lsn)
			}
		}
		var h []logged
		for lsn := page.LSN(1); lsn <= top; lsn++ {
			v := logged{Version{LSN: lsn}, fmt.Sprint(uint64(lsn))}
			what := rapid.IntRange(0, 9).Draw(t, "what")
			switch {
			case what < 4:
				continue
			case what == 8 || len(h) == 0 && !spec.Below:
				v.WillInit = true
			case what == 9:
				v.Image = true
			}
			h = append(h, v)
			if what == 4 {
				h = append(h, logged{Version{LSN: lsn}, "again"})
			}
		}
		base := ""
		if spec.Below {
			base = "base"
		}
		threshold, maxRecords := rapid.IntRange(1, 5).Draw(t, "threshold"), rapid.IntRange(0, 3).Draw(t, "most records")
		kept, held, err := fold(NewRetention(spec, threshold, maxRecords), base, h, nil)
		require.NoError(t, err)
		require.LessOrEqual(t, held, threshold+1)
		at := append(slices.Clone(spec.Retain), spec.Horizon)
		for lsn := spec.Horizon; lsn <= top; lsn++ {
			at = append(at, lsn)
		}
		for _, r := range at {
			require.Equal(t, readLog(base, h, r), readLog(base, kept, r), "at %d", r)
		}
		run := 0
		for i, v := range kept {
			require.True(t, i == 0 || kept[i-1].LSN < v.LSN, "ascending")
			run++
			switch {
			case v.Image:
				run = 0
			case v.WillInit:
				run = 1
			}
			if maxRecords > 0 {
				require.LessOrEqual(t, run, maxRecords)
			}
			if v.LSN <= spec.Horizon {
				require.LessOrEqual(t, run, threshold)
			}
		}
		if !spec.Below && len(kept) > 0 && kept[0].LSN <= at[0] {
			require.True(t, kept[0].Image && kept[0].LSN == at[0], "an image at the lowest point")
		}
		if len(kept) < len(h) {
			folded++
		}
	})
	require.NotZero(t, folded)
}

// TestRetentionStreams folds the 10 million updates of one key, and holds no more of them than of ten.
func TestRetentionStreams(t *testing.T) {
	const updates = 10_000_000
	var retain []page.LSN
	for lsn := page.LSN(1_000_000); lsn < 8*updates; lsn += 7_654_321 {
		retain = append(retain, lsn)
	}
	r := NewRetention(&FoldSpec{Horizon: 8 * updates, Retain: retain, Below: true}, FoldThreshold, 0)
	held, most, written, images := 0, 0, 0, 0
	do := func(steps []Step, err error) {
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range steps {
			held -= s.N
			switch s.Do {
			case Write:
				written += s.N
			case PutImage:
				images++
			}
		}
	}
	add := func(lsn page.LSN) {
		held++
		do(r.Add(Version{LSN: lsn}))
		most = max(most, held)
	}
	allocated := testing.AllocsPerRun(1, func() {
		r.Reset(nil)
		for n := range page.LSN(updates) {
			add(8 * (n + 1))
		}
		do(r.Finish())
	})
	require.LessOrEqual(t, allocated, 10.0)
	require.LessOrEqual(t, most, FoldThreshold+1)
	require.Zero(t, held)
	require.Zero(t, written)
	require.Equal(t, 2*(len(retain)+1), images, "twice, as it is run")
}
