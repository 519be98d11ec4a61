// Package s3store keeps objects in a bucket of S3, or of what speaks its protocol. It makes one attempt at each
// request: remote.Retry repeats, remote.Limit bounds.
//
// Credentials come from where the AWS SDK looks for them: the environment, a profile (single sign-on too), a web
// identity, the role of a container or a machine. With an Endpoint buckets are addressed by path, as such servers
// want it.
//
// Objects above one part go up in parts, several at once, straight from the body; a part is read again for each attempt.
// An upload that fails is aborted, so that its parts cost nothing; where that fails too, a lifecycle rule of the bucket
// (AbortIncompleteMultipartUpload) should end it.
package s3store
