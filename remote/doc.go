// Package remote is where a store's layers and indexes lie beside the local disk: objects under keys. Storage is what
// a driver gives: localstore (a folder), s3store (S3 and what speaks its protocol), memstore (tests), and what
// wraps one: Limit (concurrency, timeouts), Retry, faultstore (faults for tests).
//
// # What may be relied upon
//
// An object is whole or not there: a Put that fails leaves the old object or none, a reader never meets half of one.
// Once Put has returned the object survives a crash of the store. A Put whose answer was lost may have happened: whoever repeats
// it must write the same bytes, which is what names with a generation are for. Deleting what is not there is no error. List sees
// everything whose Put returned before it began.
//
// # Errors
//
// All drivers give the sentinels of this package, in errors that name the operation and the key. Retryable tells
// whether another attempt may help. An operation whose context ended gives the context's error, wrapped.
//
// A Storage may be used from many goroutines at once.
package remote
