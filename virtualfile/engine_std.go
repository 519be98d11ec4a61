package virtualfile

import "context"

// stdEngine is pread and pwrite.
type stdEngine struct{}

var _ engine = (*stdEngine)(nil)

func newStdEngine() *stdEngine { return &stdEngine{} }

func (*stdEngine) kind() EngineKind { return EngineStd }

func (e *stdEngine) run(ctx context.Context, b *batch) error {
	for i := range b.xs {
		x := &b.xs[i]
		x.end(x.do())
	}
	return b.wait(ctx)
}

func (*stdEngine) close() error { return nil }
