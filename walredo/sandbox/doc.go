// Package sandbox takes from this process what a redo worker does not need, so that a record that breaks the
// code which redoes it gains nothing: no files, no sockets, no programs, no other process.
//
// Enter does, in this order, what the kernel offers:
//
//   - descriptors above stderr are closed, but for those of Go's runtime;
//   - resource limits: memory, processor time, no core, no file growth;
//   - landlock without any rule: no path can be opened, no port bound or connected to;
//   - seccomp: a system call that is not on a short list kills the process. On the list is what reading, writing
//     and Go's runtime take; memory cannot be made executable, and clone makes threads alone.
//
// Seccomp is the wall, on every thread of the process, and Enter fails without it. Landlock stands behind
// it, on the calling goroutine's thread in programs with cgo and on all threads in others. There is no
// way back: Enter is for a process that only serves.
package sandbox
