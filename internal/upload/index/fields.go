package index

import (
	"encoding/json"
	"errors"
)

// eachField gives the fields of an object in JSON that is known to be well formed, for documents have very many. Values are
// slices of raw.
func eachField(raw []byte, fn func(name string, value []byte) error) error {
	i := blank(raw, 0)
	if i == len(raw) || raw[i] != '{' {
		return errors.New("want an object")
	}
	for i = blank(raw, i+1); i < len(raw) && raw[i] == '"'; i = blank(raw, i+1) {
		end := skip(raw, i)
		name, err := text(raw[i:end])
		if err != nil {
			return err
		}
		begin := blank(raw, blank(raw, end)+1) // behind the colon
		end = skip(raw, begin)
		if begin >= end {
			return errors.New("an object ends early")
		}
		if err := fn(name, raw[begin:end:end]); err != nil {
			return err
		}
		i = blank(raw, end)
		if i == len(raw) || raw[i] != ',' {
			break
		}
	}
	return nil
}

// blank passes over white space.
func blank(raw []byte, i int) int {
	for i < len(raw) && (raw[i] == ' ' || raw[i] == '\n' || raw[i] == '\t' || raw[i] == '\r') {
		i++
	}
	return min(i, len(raw))
}

// skip gives where the value ends that begins at i.
func skip(raw []byte, i int) int {
	depth := 0
	for ; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			for i++; i < len(raw) && raw[i] != '"'; i++ {
				if raw[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return min(i+1, len(raw))
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
			if depth < 0 {
				return i
			}
		case ',', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return i
			}
		}
	}
	return min(i, len(raw))
}

// text reads a string.
func text(raw []byte) (s string, err error) {
	if n := len(raw); n >= 2 && raw[0] == '"' && raw[n-1] == '"' {
		plain := raw[1 : n-1]
		for _, c := range plain {
			if c == '\\' || c < ' ' || c > '~' {
				err = json.Unmarshal(raw, &s)
				return s, err
			}
		}
		return string(plain), nil
	}
	return "", errors.New("want a string")
}
