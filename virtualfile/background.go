package virtualfile

import "context"

// Background says how reads that nobody waits for are to be done, so that others find the drive free.
type Background struct {
	// Transfer is the longest read in bytes; longer ones are cut, and their pieces follow each other. It is rounded
	// up to BufferAlign.
	Transfer int
	// Wait, if set, is called before each with its length, and may hold it back. An error ends the read.
	Wait func(ctx context.Context, bytes int) error
}

type backgroundKey struct{}

// WithBackground makes the reads under the context those of b.
func WithBackground(ctx context.Context, b *Background) context.Context {
	return context.WithValue(ctx, backgroundKey{}, b)
}

func backgroundOf(ctx context.Context) *Background {
	b, _ := ctx.Value(backgroundKey{}).(*Background)
	return b
}

// readSlowly does reads one after the other, in pieces. The caller has entered the gate.
func (d *Disk) readSlowly(ctx context.Context, bg *Background, reads []Read) error {
	step := (max(bg.Transfer, BufferAlign) + BufferAlign - 1) &^ (BufferAlign - 1)
	for i := range reads {
		r := &reads[i]
		r.N, r.Err = 0, nil
		for {
			piece := []Read{{File: r.File, Off: r.Off + int64(r.N), Buf: r.Buf, At: r.At + r.N, Len: min(r.Len-r.N, step)}}
			if bg.Wait != nil {
				if err := bg.Wait(ctx, piece[0].Len); err != nil {
					return err
				}
			}
			if _, err := d.goOnce(ctx, piece, false); err != nil {
				return err
			}
			r.N, r.Err = r.N+piece[0].N, piece[0].Err
			if r.Err != nil || piece[0].N < piece[0].Len || r.N >= r.Len {
				break
			}
		}
	}
	return nil
}
