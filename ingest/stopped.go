package ingest

import "context"

// stopped stores what has gathered up to a shutdown's checkpoint, and says that the server has stopped there.
func (i *Ingester) stopped(ctx context.Context) error {
	end := i.stop
	i.stop = 0
	if err := i.Commit(ctx); err != nil {
		return err
	}
	i.o.Shutdown(end)
	return nil
}
