package record

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stratapg/strata/bench/plot"
)

// Marks of the section of a document that is made of results.
const (
	beginMark = "<!-- made by bench table: begin -->\n"
	endMark   = "<!-- made by bench table: end -->\n"
)

// Embed gives a document whose marked section is text.
func Embed(document []byte, text []byte) ([]byte, error) {
	before, rest, ok := bytes.Cut(document, []byte(beginMark))
	if !ok || bytes.Contains(rest, []byte(beginMark)) {
		return nil, fmt.Errorf("the document has not exactly one mark %q", strings.TrimSpace(beginMark))
	}
	_, after, ok := bytes.Cut(rest, []byte(endMark))
	if !ok {
		return nil, fmt.Errorf("the document has no mark %q behind the other one", strings.TrimSpace(endMark))
	}
	return slices.Concat(before, []byte(beginMark), text, []byte(endMark), after), nil
}

// Table writes results as Markdown: of what machine, commit and command they are, a table for each kind of workload, and what disturbed them.
// Where the last part of names is a number, as in depth=8, each has a column.
func Table(all []Line) []byte {
	var b bytes.Buffer
	origins(&b, all)
	for _, k := range kinds(all) {
		k.write(&b)
	}
	var disturbed []string
	for i := range all {
		if l := &all[i]; len(l.Warnings) > 0 {
			disturbed = append(disturbed, fmt.Sprintf("`%s` (%s)", l.Name, strings.Join(l.Warnings, "; ")))
		}
	}
	if disturbed != nil {
		fmt.Fprintf(&b, "\nDisturbed: %s.\n", strings.Join(disturbed, ", "))
	}
	return b.Bytes()
}

// origins says what the results are of, a paragraph for each machine, commit and command.
func origins(b *bytes.Buffer, all []Line) {
	seen := map[string]int{}
	var order []string
	for i := range all {
		l := &all[i]
		m := l.Machine
		text := fmt.Sprintf("%d processors %s, frequency governor %s; kernel %s, %s; %s on %s; %s; commit %s; `bench run %s`",
			m.CPUs, cmp.Or(m.CPU, "unknown"), cmp.Or(m.Governor, "unknown"), cmp.Or(m.Kernel, "unknown"), m.OS,
			cmp.Or(m.FileSystem, "unknown"), cmp.Or(m.Disk, "unknown"), m.Go, cmp.Or(l.Commit, "unknown"), strings.Join(l.Flags, " "))
		if seen[text]++; seen[text] == 1 {
			order = append(order, text)
		}
	}
	for _, text := range order {
		fmt.Fprintf(b, "Of %d workloads, on %s. Medians, with half of the distance between the quartiles, or of how few rounds they are.\n", seen[text], text)
	}
}

// kind is a table: workloads whose names begin alike, and the columns of those that differ in their last part alone.
type kind struct {
	name    string
	columns []string
	rows    []row
}

// row is a metric of workloads, by column.
type row struct {
	name, unit string
	cells      map[string]string
}

func kinds(all []Line) (out []*kind) {
	for i := range all {
		l := &all[i]
		family, rest, _ := strings.Cut(l.Name, "/")
		at := slices.IndexFunc(out, func(k *kind) bool { return k.name == family })
		if at < 0 {
			at = len(out)
			out = append(out, &kind{name: family})
		}
		name, column := rest, ""
		if cut := strings.LastIndexByte(rest, '/'); numbered(rest[cut+1:]) {
			name, column = rest[:max(cut, 0)], rest[cut+1:]
		}
		out[at].add(name, column, l.Metrics)
	}
	return out
}

// numbered reports whether a part of a name is a number.
func numbered(part string) bool {
	_, n, ok := strings.Cut(part, "=")
	_, err := strconv.Atoi(n)
	return ok && err == nil
}

// fewRounds have no quartiles to speak of.
const fewRounds = 4

func (k *kind) add(name, column string, metrics []Metric) {
	if !slices.Contains(k.columns, column) {
		k.columns = append(k.columns, column)
	}
	for i := range metrics {
		m := &metrics[i]
		at := slices.IndexFunc(k.rows, func(r row) bool { return r.name == name && r.unit == m.Unit })
		if at < 0 {
			at = len(k.rows)
			k.rows = append(k.rows, row{name, m.Unit, map[string]string{}})
		}
		median, noise := m.Quartiles()
		k.rows[at].cells[column] = fmt.Sprintf("%s ± %.0f %%", plot.Short(median), 50*noise)
		if n := len(m.Values); n < fewRounds {
			k.rows[at].cells[column] = fmt.Sprintf("%s of %d", plot.Short(median), n)
		}
	}
}

func (k *kind) write(b *bytes.Buffer) {
	fmt.Fprintf(b, "\n| %s | metric |", k.name)
	for _, c := range k.columns {
		fmt.Fprintf(b, " %s |", c)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(k.columns)) + "\n")
	for i, r := range k.rows {
		name := r.name
		if i > 0 && k.rows[i-1].name == name {
			name = ""
		}
		fmt.Fprintf(b, "| %s | %s |", name, r.unit)
		for _, c := range k.columns {
			fmt.Fprintf(b, " %s |", r.cells[c])
		}
		b.WriteByte('\n')
	}
}
