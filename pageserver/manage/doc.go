// Package manage is the HTTP API by which a page server is looked at and told what to do: the part of Neon's management API
// (pageserver/src/http/routes.rs) that its benchmarks and those who embed a store need, with its paths and its JSON, so that
// programs written for the one work with the other.
//
// All routes stand in one table, by which requests are dispatched, tokens are checked and the description at /openapi.json is
// written. A path that is not in it is answered 404, a method that its path has not got 405.
//
// # Who may
//
// Without Config.Auth nobody is asked: listen on a loopback address. With it, what concerns one tenant needs a token of that
// tenant or of scope "pageserverapi", all else one of that scope; the status, the metrics and the description are for all.
// Profiles need a token, other than Neon's.
//
// # Errors
//
// An error's body is {"msg": "..."}. 400 is a request that makes no sense, 401 no good token, 403 one that does not allow
// this, 404 what is not here, 406 a branch at an LSN that is not kept, 409 what conflicts with what is there, 412 what the
// present state forbids, 503 what is passing; 500 is the rest. Work ends with the request that asked for it.
package manage
