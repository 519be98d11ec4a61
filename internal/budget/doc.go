// Package budget divides a number of bytes among those who spend memory. A Budget is the total; caches,
// in-memory layers, reads in flight and so on each have a Share with a limit of its own, so that none of them
// can starve another, and Acquire what they are about to use.
//
// Those who wait for a share are served in the order of arrival, whatever they want: a large request is
// not overtaken by small ones for ever. A request larger than the share's limit waits until the share is
// empty and then passes alone; it would never pass otherwise. So a share is exceeded by one request at most.
//
// A share knows numbers, not memory: who acquired says when to release. Who holds some of a share and waits for
// more of it may wait for itself; take all that is needed at once, or use TryAcquire for what comes later.
//
// A release of more than is held is a mistake of the program's. It is counted (Stats.Misreleases), the
// share goes on from zero, and in builds with the race detector or the tag invariants it panics.
//
// All methods may be called concurrently. A Budget's lock is taken before those of its shares.
package budget
