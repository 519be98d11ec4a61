// Package backupcache keeps base backups in a folder of the local disk, within a limit of entries and one of bytes, and
// gives them to whoever asks for the same again. It knows nothing of what is in them: a Key names one, and a Fill makes
// its bytes. Two backups of one key must have the same bytes.
//
// # What is promised
//
//   - A backup that is given is the one that was made, whole, or its reader gets an error before its end. See Backup.
//   - One key is made once at a time: who asks meanwhile waits (Fetch), and may stop to wait without harm to the others.
//   - The folder never has more than Options.Bytes: what is being written counts from its first byte, and what was used
//     longest ago gives way. (The order of use takes 8 bytes per entry besides. A file that gave way while it is being sent takes its room until it is closed.)
//   - The order of use outlasts Close; a crash loses that of the last minute.
//   - A crash leaves whole backups and files under temporary names, which go at the next Open.
//   - Nothing fails because of the cache: without room, with a full or broken disk, in want of turns, Fetch says ErrMiss.
//     After a failed write the cache rests for a while, so that it doesn't take a full disk's last bytes again and again.
//
// # Files
//
// A file holds the backup and then a trailer, integers big-endian. Its sum makes a cut or strange file no entry, and the
// content's sum is what content is verified by:
//
//	content     N bytes
//	key         tenant 16, timeline 16, LSN 8, kind: the rest
//	footer      magic "STRABKUP" 8 | version 4 | length of key 4 | N 8 | files 8 | XXH64 of content 8 | XXH64 of key and footer so far 8
//
// The file "order" has the numbers of the files' names, of which the one used longest ago comes first:
//
//	magic "STRABORD" 8 | number 8, each | XXH64 of all that 8
//
// # Reading
//
// A backup of up to a mebibyte is read into memory, verified, and sent from there: what is sent is what was verified. A
// larger one is verified when it is first used after it was written or found by Open, and whenever its file is no
// longer the one that was verified, as inode, length and times of change show. Otherwise a Sender gets the file as it is, for sendfile.
// That hands the file's own pages to the socket, where they wait, uncopied, until the client reads them: a look at the file behind the last byte
// would come too early. So the file has a lease from before its identity is compared until the sender closes it. Who opens it for writing, or cuts
// it, waits so long, or for fs.lease-break-time, 45 seconds by default; the sender sees either (LeasedFile.Held), and breaks off what it has not sent whole. Where
// the kernel grants no lease, as where somebody has the file open for writing already, and where the last change is so late that the kernel's clock
// might not show a further one, the backup is copied, and verified behind its last byte. What a medium does to bytes that were verified, and that the kernel has dropped from memory since, is found at
// the next Open only, or by what is in the backup: the checksums of gzip and zstd, those of pages.
//
// The lock of a Cache guards its maps and is never held over I/O; a channel of one place has files deleted one after
// the other, and is taken before the lock.
package backupcache
