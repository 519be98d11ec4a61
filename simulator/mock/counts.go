package mock

// Counts are what has been written and removed so far.
type Counts struct {
	Files, FilesDeleted int64
	Created, Deleted    int64 // bytes
	// By is the bytes written by kind: flush, retile, image, fold, import.
	By map[string]int64
}

// Kinds of layers that no job makes: those that are there at the start, and those of memory.
const (
	Import = "import"
	Flush  = "flush"
)

func (c *Counts) created(kind string, l *Layer) {
	if c.By == nil {
		c.By = make(map[string]int64)
	}
	c.By[kind] += l.Size
	if kind == Import {
		return // it was there before
	}
	c.Files++
	c.Created += l.Size
}

func (c *Counts) deleted(l *Layer) {
	c.FilesDeleted++
	c.Deleted += l.Size
}

// Counts gives what has been written and removed so far.
func (t *Timeline) Counts() *Counts { return &t.counts }
