package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/stratapg/strata/internal/upload/index"
	"github.com/stratapg/strata/layer"
	"github.com/stratapg/strata/remote"
)

// ErrStale says that a writer with a higher generation has taken over.
var ErrStale = errors.New("another writer has taken over: attach again with a higher generation")

// Load reads the newest index of a timeline that is not above a generation, and gives the generation that wrote it. remote.ErrNotFound
// says that there is none; ErrStale that there is one above.
func Load(ctx context.Context, s remote.Storage, p Place, generation uint32) (*index.Part, uint32, error) {
	found, newest, err := indexes(ctx, s, p)
	if err != nil {
		return nil, 0, err
	}
	if newest > generation {
		return nil, 0, fmt.Errorf("timeline %s: %w: there is an index of generation %d, ours is %d", p.Timeline, ErrStale, newest, generation)
	}
	if !found {
		return nil, 0, remote.Wrap("get", p.IndexKey(generation), remote.ErrNotFound)
	}
	part, err := read(ctx, s, p.IndexKey(newest))
	return part, newest, err
}

// indexes finds the newest generation of which a timeline has an index.
func indexes(ctx context.Context, s remote.Storage, p Place) (found bool, newest uint32, err error) {
	prefix := p.Prefix() + indexName
	for e, err := range s.List(ctx, prefix, remote.ListOptions{}) {
		if err != nil {
			return false, 0, err
		}
		if g, ok := parseIndexName(strings.TrimPrefix(e.Key, p.Prefix())); ok {
			found, newest = true, max(newest, g)
		}
	}
	return found, newest, nil
}

// IndexObject is the index of a generation.
func IndexObject(generation uint32) Object { return Object{indexName, generation} }

// ImportPrefix begins the names of objects that only an unfinished import needs.
const ImportPrefix = "IMPORT."

// Objects lists what there is of a timeline by writers up to a generation: layers, indexes, and what an import has left.
func Objects(ctx context.Context, s remote.Storage, p Place, generation uint32) (out []Object, err error) {
	for e, err := range s.List(ctx, p.Prefix(), remote.ListOptions{}) {
		if err != nil {
			return nil, err
		}
		name := strings.TrimPrefix(e.Key, p.Prefix())
		o := objectNamed(name)
		if _, err := layer.ParseName(o.Name); (err == nil || o.Name == indexName || strings.HasPrefix(name, ImportPrefix)) && o.Generation <= generation && o.key() == name {
			out = append(out, o)
		}
	}
	return out, nil
}

func read(ctx context.Context, s remote.Storage, key string) (*index.Part, error) {
	d, err := s.Get(ctx, key, remote.GetOptions{})
	if err != nil {
		return nil, err
	}
	b, err := readAll(d)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	part, err := index.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return part, nil
}

func readAll(d *remote.Download) (b []byte, err error) {
	defer func() { err = errors.Join(err, d.Body.Close()) }()
	if d.Length > index.MaxSize {
		return nil, fmt.Errorf("%w: %d bytes, an index has at most %d", remote.ErrSize, d.Length, index.MaxSize)
	}
	b = make([]byte, d.Length)
	_, err = io.ReadFull(d.Body, b)
	return b, err
}
