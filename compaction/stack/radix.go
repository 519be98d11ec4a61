package stack

import "github.com/stratapg/strata/page"

// ordinal is something to be put in order: 18 bytes as big-endian words, and behind them, in what is left of the last word,
// its number.
type ordinal [3]uint64

// numberBits are what of the last word is the number.
const numberBits = 48

func ordinalOf(k page.Key, number int) ordinal {
	return ordinal{
		uint64(k.F1)<<56 | uint64(k.F2)<<24 | uint64(k.F3)>>8,
		uint64(k.F3)<<56 | uint64(k.F4)<<24 | uint64(k.F5)<<16 | uint64(k.F6)>>16,
		uint64(k.F6)<<numberBits | uint64(number),
	}
}

func (o *ordinal) number() int { return int(o[2] & (1<<numberBits - 1)) }

// same reports whether two differ by their numbers alone.
func (o *ordinal) same(p *ordinal) bool {
	return o[0] == p[0] && o[1] == p[1] && o[2]>>numberBits == p[2]>>numberBits
}

// sorted gives all in order, those that are the same as they were. It takes what it is given as room. Comparing took a third
// of a plan; of the bytes most are the same in all layers of a timeline, so it is a few passes by the others, from the last
// byte to the first.
func sorted(all []ordinal) []ordinal {
	var differ ordinal
	for i := range all {
		for w := range differ {
			differ[w] |= all[i][w] ^ all[0][w]
		}
	}
	differ[2] = differ[2] >> numberBits << numberBits
	room := make([]ordinal, len(all))
	for w := len(differ) - 1; w >= 0; w-- {
		for shift := 0; shift < 64; shift += 8 {
			if byte(differ[w]>>shift) != 0 {
				distribute(room, all, w, shift)
				all, room = room, all
			}
		}
	}
	return all
}

// distribute puts all in order by one byte of a word; those that have it in common stay as they are.
func distribute(to, from []ordinal, word, shift int) {
	var next [256]int
	for i := range from {
		next[byte(from[i][word]>>shift)]++
	}
	sum := 0
	for b, n := range next {
		next[b] = sum
		sum += n
	}
	for i := range from {
		b := byte(from[i][word] >> shift)
		to[next[b]] = from[i]
		next[b]++
	}
}
