// Package statuspage is the page by which people look at a page server: tenants, timelines, what is owed to compaction and to
// remote storage, how much is asked for and how long it takes, and a drawing of a timeline's layers that can be moved,
// magnified and pointed at.
//
// It is rendered here, by html/template, from what the engine tells at that moment; a script of a few lines fetches the parts
// that live every two seconds. Everything is in the pages themselves: nothing is fetched from elsewhere. Who may see it is the
// matter of the server that it is part of (manage).
package statuspage
