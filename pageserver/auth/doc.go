// Package auth says who a token is from and what it may do: the JSON Web Tokens that Neon's services give each other
// (libs/utils/src/auth.rs, pageserver/src/auth.rs).
//
// A token is signed by Ed25519 (EdDSA) or RSA (RS256) with a key whose public half lies in a PEM file here; several keys
// count at a time, so that one can follow another. The kind of a key decides how a signature is checked, never the token: a
// token that names another algorithm, or none, is refused. Its claims are
//
//	scope      "tenant" for one tenant, "pageserverapi" for everything; others are known and refused
//	tenant_id  32 hexadecimal digits, with scope "tenant" only
//	exp, nbf   seconds since 1970, each heeded where it is there, by a clock that may be a minute off
//	aud        a name or a list of names; heeded where Options.Audience is set
package auth
