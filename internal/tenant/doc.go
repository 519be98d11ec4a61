// Package tenant is a store on disk: its store file and lock, the tenants in it, and their timelines.
//
//	<dir>/STRATA                                  format version, features, identity (docs/formats/store.md)
//	<dir>/LOCK                                    held by the process that has the store open
//	<dir>/tenants/<id>/timelines/<id>/MANIFEST    the timeline's truth (docs/formats/manifest.md)
//	<dir>/tenants/<id>/timelines/<id>/<layers>
//
// What is being made has a name that ends in ".___temp" until it is whole; opening a store for writing
// removes what a crash left of these. All methods may be called concurrently.
package tenant
