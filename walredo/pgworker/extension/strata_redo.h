/*
 * strata_redo: a stock PostgreSQL server as a redo worker.
 *
 * Loaded by session_preload_libraries into "postgres --single", it never returns to the server: it serves the
 * protocol of Neon's "postgres --wal-redo" on stdin and stdout (docs/formats/redo-protocol.md) and applies
 * records with the server's own redo routines.
 *
 *	main.c		start, messages
 *	pipe.c		bytes in and out
 *	page.c		pages in shared buffers that no file has
 *	apply.c		one record
 *	failure.c	errors of the server, and how we answer them
 *	sandbox.c	nothing but the two pipes from then on
 *
 * The page asked for lives in shared buffers, as a page of a relation "target" of ours, and all others that a record
 * touches as pages of a relation "other". Their files are empty and never read or written.
 */
#ifndef STRATA_REDO_H
#define STRATA_REDO_H

#include "postgres.h"

#include "access/rmgr.h"
#include "access/xlogdefs.h"
#include "storage/block.h"
#include "storage/bufpage.h"
#include "storage/smgr.h"

#if PG_VERSION_NUM < 140000 || PG_VERSION_NUM >= 180000
#error "strata_redo is for PostgreSQL 14 to 17"
#endif

/* What 16 calls a relation's file, under one name. */
#if PG_VERSION_NUM >= 160000
#include "storage/relfilelocator.h"
typedef RelFileLocator RelFile;
#define RELFILE(spc, db, rel) {.spcOid = (spc), .dbOid = (db), .relNumber = (rel)}
#define SameRelFile(a, b) RelFileLocatorEquals(a, b)
#define BLOCK_RELFILE(b) ((b)->rlocator)
#else
#include "storage/relfilenode.h"
typedef RelFileNode RelFile;
#define RELFILE(spc, db, rel) {.spcNode = (spc), .dbNode = (db), .relNode = (rel)}
#define SameRelFile(a, b) RelFileNodeEquals(a, b)
#define BLOCK_RELFILE(b) ((b)->rnode)
#endif

/* A block as the client names it. */
typedef struct Tag
{
	RelFile		rel;
	ForkNumber	fork;
	BlockNumber block;
} Tag;

/* pipe.c */
extern bool pipe_read(char *to, size_t n);
extern void pipe_write(const char *from, size_t n);
extern void pipe_flush(void);
extern void pg_attribute_noreturn() give_up(const char *format,...) pg_attribute_printf(1, 2);

/* page.c */
extern void pages_init(void);
extern void pages_begin(const Tag *tag);
extern void pages_push(const char *image);
extern void pages_get(char *to);
extern bool pages_target_is_new(void);
extern ForkNumber pages_fork(ForkNumber fork);
extern bool pages_rename(RelFile *rel, ForkNumber fork, BlockNumber block);
extern void pages_put_other(ForkNumber fork, BlockNumber block);
extern void pages_put_maps(const RelFile *rel, BlockNumber heap_block);
extern void pages_forget_others(void);
extern void pages_release(void);

/* apply.c */
extern void apply_init(void);
extern void apply_record(XLogRecPtr end, const char *bytes, size_t n);

/* failure.c: the codes are those of the protocol's failure page */
typedef enum
{
	FAILED_OTHER = 0,
	FAILED_UNSUPPORTED = 1,
	FAILED_CORRUPT = 2,
	FAILED_NO_BASE = 3
} FailureCode;

extern void failure_init(void);
extern bool failure_guard(void (*body) (void *), void *arg);
extern void failure_set(FailureCode code, const char *format,...) pg_attribute_printf(2, 3);
extern void failure_of_record(RmgrId rmgr, uint8 info, XLogRecPtr end);
extern bool failure_pending(void);
extern const char *failure_text(void);
extern void failure_clear(void);
extern void failure_page(char *to);

/* sandbox.c */
extern void sandbox_enter(void);

#endif							/* STRATA_REDO_H */
