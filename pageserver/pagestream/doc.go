// Package pagestream is the byte format of the requests and answers by which Neon's computes read pages: what the
// CopyData messages carry after the commands pagestream_v2 and pagestream_v3. It follows Neon
// (libs/pageserver_api/src/pagestream_api.rs); all integers are big endian.
//
//	request, version 2   kind u8 │ request LSN u64 │ not modified since u64 │ body
//	request, version 3   kind u8 │ request id u64 │ request LSN u64 │ not modified since u64 │ body
//	answer, version 2    kind u8 │ payload
//	answer, version 3    kind u8 │ request id, LSNs as asked │ body as asked │ payload
//	error, version 3     kind u8 │ request id, LSNs as asked │ message, zero byte
//
//	kind                  body                                          answered by
//	0   exists            relation                                      100  u8, 0 or 1
//	1   size of relation  relation                                      101  u32 blocks
//	2   page              relation, block u32                           102  8,192 bytes
//	3   size of database  database u32                                  104  i64 bytes
//	4   SLRU segment      kind u8, segment u32                          105  u32 blocks, so many pages of 8,192 bytes
//	                                                                    103  error message, zero byte
//	relation              tablespace u32 │ database u32 │ file u32 │ fork u8
//
// Encoding appends to a buffer of the caller and does not allocate where that has room; decoding a request does not
// allocate. Nothing here keeps state, so that everything may be called from many goroutines.
package pagestream
