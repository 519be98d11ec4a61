/*
 * One record: decoded by the server, its blocks renamed, everything but the page asked for put out of its reach, and
 * redone by the server's routine.
 */
#include "strata_redo.h"

#include "access/heapam_xlog.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogreader.h"
#include "access/xlogrecord.h"
#include "access/xlogutils.h"
#include "catalog/pg_control.h"
#include "port/pg_crc32c.h"
#include "utils/memutils.h"

static XLogReaderState *reader;

void
apply_init(void)
{
	reader = XLogReaderAllocate(wal_segment_size, NULL, XL_ROUTINE(.page_read = NULL), NULL);
	if (reader == NULL)
		give_up("out of memory");
	RmgrStartup();				/* memory contexts of some resource managers */
	InRecovery = true;
}

/*
 * known says whether records of this type change pages that they name, and nothing else. All others are refused:
 * redo of a dropped database, for one, removes files.
 */
static bool
known(RmgrId rmgr, uint8 info)
{
	uint8		op = info & ~XLR_INFO_MASK;

	switch (rmgr)
	{
		case RM_XLOG_ID:
			return op == XLOG_FPI || op == XLOG_FPI_FOR_HINT;
		case RM_HEAP2_ID:
			/* one writes a file for logical decoding */
			return (op & XLOG_HEAP_OPMASK) != XLOG_HEAP2_REWRITE;
		case RM_HEAP_ID:
		case RM_BTREE_ID:
		case RM_HASH_ID:
		case RM_GIN_ID:
		case RM_GIST_ID:
		case RM_SEQ_ID:
		case RM_SPGIST_ID:
		case RM_BRIN_ID:
		case RM_GENERIC_ID:
			return true;
	}
#if PG_VERSION_NUM >= 150000
	return RmgrIdIsCustom(rmgr) && RmgrIdExists(rmgr);
#else
	return false;
#endif
}

static bool
crc_is_right(const XLogRecord *rec)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, ((const char *) rec) + SizeOfXLogRecord, rec->xl_tot_len - SizeOfXLogRecord);
	COMP_CRC32C(crc, (const char *) rec, offsetof(XLogRecord, xl_crc));
	FIN_CRC32C(crc);
	return EQ_CRC32C(crc, rec->xl_crc);
}

/* decode takes the record apart and gives its block references. */
static DecodedBkpBlock *
decode(XLogRecord *rec, XLogRecPtr end, int *max_block)
{
	char	   *why = NULL;

	reader->ReadRecPtr = reader->EndRecPtr = end;
#if PG_VERSION_NUM >= 150000
	{
		DecodedXLogRecord *d = MemoryContextAllocHuge(CurrentMemoryContext, DecodeXLogRecordRequiredSpace(rec->xl_tot_len));

		if (DecodeXLogRecord(reader, d, rec, end, &why))
		{
			d->next_lsn = end;
			reader->record = d;
			*max_block = d->max_block_id;
			return d->blocks;
		}
	}
#else
	if (DecodeXLogRecord(reader, rec, &why))
	{
		*max_block = reader->max_block_id;
		return reader->blocks;
	}
#endif
	failure_set(FAILED_CORRUPT, "%s", why ? why : "a record that cannot be decoded");
	return NULL;
}

/* makes says whether the record makes a block's page without looking at what was there. */
static bool
makes(const DecodedBkpBlock *b)
{
	return (b->flags & BKPBLOCK_WILL_INIT) != 0 || b->apply_image;
}

/* prepare_block renames a block and makes its page, unless it is the target, which is there. */
static bool
prepare_block(DecodedBkpBlock *b)
{
	bool		is_target = pages_rename(&BLOCK_RELFILE(b), b->forknum, b->blkno);

	b->forknum = pages_fork(b->forknum);
	if (!is_target && !makes(b))
		pages_put_other(b->forknum, b->blkno);
	return is_target;
}

static bool
is_heap_block(const DecodedBkpBlock *b)
{
	return b->in_use && b->forknum == MAIN_FORKNUM;
}

/*
 * prepare makes every page that redo will ask for. False: the record cannot be applied to the page asked for.
 */
static bool
prepare(const XLogRecord *rec, DecodedBkpBlock *blocks, int max_block)
{
	bool		heap = rec->xl_rmid == RM_HEAP_ID || rec->xl_rmid == RM_HEAP2_ID;
	DecodedBkpBlock *named = NULL;

	for (int i = 0; i <= max_block; i++)
	{
		DecodedBkpBlock *b = &blocks[i];

		if (!b->in_use)
			continue;
		if (b->forknum < MAIN_FORKNUM || b->forknum > MAX_FORKNUM || b->blkno == InvalidBlockNumber)
		{
			failure_set(FAILED_CORRUPT, "block reference %d names fork %d, block %u", i, b->forknum, b->blkno);
			return false;
		}
		if (prepare_block(b))
			named = b;
	}
	if (named == NULL)
	{
		failure_set(FAILED_CORRUPT, "the record does not name the block");
		return false;
	}
	/* A map that is not there is one of zeros. */
	if (named->forknum == MAIN_FORKNUM && !makes(named) && pages_target_is_new())
	{
		failure_set(FAILED_NO_BASE, "no image to apply the record to");
		return false;
	}
	/* Heap redo looks for the maps of all its heap blocks in the relation of one of them. */
	for (int i = 0; heap && i <= max_block; i++)
		for (int k = 0; is_heap_block(&blocks[i]) && k <= max_block; k++)
			if (is_heap_block(&blocks[k]))
				pages_put_maps(&BLOCK_RELFILE(&blocks[i]), blocks[k].blkno);
	return true;
}

static void
redo(void *arg)
{
#if PG_VERSION_NUM >= 150000
	GetRmgr(XLogRecGetRmid(reader)).rm_redo(reader);
#else
	RmgrTable[XLogRecGetRmid(reader)].rm_redo(reader);
#endif
}

struct record
{
	XLogRecord *header;
	XLogRecPtr	end;
};

static void
apply(void *arg)
{
	struct record *r = arg;
	int			max_block = -1;
	DecodedBkpBlock *blocks = decode(r->header, r->end, &max_block);

	if (blocks != NULL && prepare(r->header, blocks, max_block))
		redo(NULL);
}

/* apply_record applies a record to the page asked for. Its outcome may be a pending failure. */
void
apply_record(XLogRecPtr end, const char *bytes, size_t n)
{
	struct record r = {.end = end};

	failure_of_record(0, 0, end);
	if (n < SizeOfXLogRecord)
	{
		failure_set(FAILED_CORRUPT, "a record of %zu bytes", n);
		return;
	}
	r.header = (XLogRecord *) bytes;
	failure_of_record(r.header->xl_rmid, r.header->xl_info, end);
	if (r.header->xl_tot_len != n)
		failure_set(FAILED_CORRUPT, "a record of %zu bytes says that it has %u", n, r.header->xl_tot_len);
	else if (!crc_is_right(r.header))
		failure_set(FAILED_CORRUPT, "the record's checksum is wrong");
	else if (!known(r.header->xl_rmid, r.header->xl_info))
		failure_set(FAILED_UNSUPPORTED, "records of this type change no page");
	else
		failure_guard(apply, &r);
	pages_forget_others();
}
