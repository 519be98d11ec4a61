package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// closing is the last line of a command: a name and facts in a fixed order.
type closing struct {
	name  string
	facts []fact
}

type fact struct {
	key   string
	value any
}

// add appends a fact and gives the closing back, so that calls chain.
func (c closing) add(key string, value any) closing {
	c.facts = append(c.facts, fact{key, value})
	return c
}

// seconds appends the time since start.
func (c closing) seconds(start time.Time) closing {
	return c.add("seconds", json.Number(fmt.Sprintf("%.3f", time.Since(start).Seconds())))
}

// write prints the line, or with asJSON one object with the same facts in the same order.
func (c closing) write(w io.Writer, asJSON bool) error {
	var b bytes.Buffer
	if asJSON {
		b.WriteByte('{')
		for i, f := range c.facts {
			if i > 0 {
				b.WriteByte(',')
			}
			v, err := json.Marshal(f.value)
			if err != nil {
				return fmt.Errorf("closing line: %s: %w", f.key, err)
			}
			fmt.Fprintf(&b, "%q:%s", f.key, v)
		}
		b.WriteString("}\n")
	} else {
		b.WriteString(c.name + ":")
		for _, f := range c.facts {
			fmt.Fprintf(&b, " %s=%s", f.key, strings.ReplaceAll(fmt.Sprint(f.value), " ", "_"))
		}
		b.WriteByte('\n')
	}
	_, err := w.Write(b.Bytes())
	return err
}
