/*
 * Pages in shared buffers that no file has. Relations "target" and "other" have empty files that stay open; the
 * sizes that the storage manager remembers of them say that every block exists, which is believed in recovery, so that
 * nothing is ever extended. Every page that redo asks for is put into the buffers before it asks, so that
 * nothing is read. All but the page asked for are dropped before there are so many that one would have to be
 * written.
 */
#include "strata_redo.h"

#include "access/htup_details.h"
#include "access/xlogutils.h"
#include "catalog/pg_tablespace_d.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/fsm_internals.h"

#if PG_VERSION_NUM >= 170000
#define NO_BACKEND INVALID_PROC_NUMBER
#else
#define NO_BACKEND InvalidBackendId
#endif

#if PG_VERSION_NUM >= 150000
#define READ(rel, fork, block, mode) ReadBufferWithoutRelcache(rel, fork, block, mode, NULL, true)
#else
#define READ(rel, fork, block, mode) ReadBufferWithoutRelcache(rel, fork, block, mode, NULL)
#endif

/* Of our database, with numbers beyond any that are given out in a cluster without users. */
static RelFile target,
			other;

static Tag	asked;

/* Map pages of the target's relation that are in the buffers, by the heap blocks they are of. */
#define MAX_MAPS 8
typedef struct Maps
{
	BlockNumber vm,
				fsm;
} Maps;

static Maps maps[MAX_MAPS];
static int	nmaps;

/* Whether there may be pages of "other". */
static bool others;

static SMgrRelation
relation(const RelFile *f)
{
	SMgrRelation r = smgropen(*f, NO_BACKEND);

	for (int fork = 0; fork <= MAX_FORKNUM; fork++)
		r->smgr_cached_nblocks[fork] = MaxBlockNumber;
	return r;
}

static void
forget(const RelFile *f, ForkNumber first)
{
	ForkNumber	forks[MAX_FORKNUM];
	BlockNumber zeros[MAX_FORKNUM] = {0};
	int			n = 0;

	for (int fork = first; fork <= VISIBILITYMAP_FORKNUM; fork++)
		forks[n++] = (ForkNumber) fork;
#if PG_VERSION_NUM >= 160000
	DropRelationBuffers(relation(f), forks, n, zeros);
#else
	DropRelFileNodeBuffers(relation(f), forks, n, zeros);
#endif
}

void
pages_init(void)
{
	const RelFile *both[] = {&target, &other};

	target = (RelFile) RELFILE(DEFAULTTABLESPACE_OID, MyDatabaseId, 0x7fff0001);
	other = (RelFile) RELFILE(DEFAULTTABLESPACE_OID, MyDatabaseId, 0x7fff0002);
	/* The catalogs' pages, which would be kept longer than ours. */
	DropDatabaseBuffers(MyDatabaseId);
	DropDatabaseBuffers(InvalidOid);
	for (int i = 0; i < lengthof(both); i++)
	{
		SMgrRelation r = smgropen(*both[i], NO_BACKEND);

		for (int fork = 0; fork <= VISIBILITYMAP_FORKNUM; fork++)
		{
			smgrcreate(r, (ForkNumber) fork, true);
			if (smgrnblocks(r, (ForkNumber) fork) != 0)
				give_up("the data directory has blocks of a relation that is to be empty: give each worker its own");
		}
#if PG_VERSION_NUM >= 170000
		smgrpin(r);
#endif
		(void) relation(both[i]);
	}
}

/*
 * put makes a page in the buffers. Without an image it is one that no record changes, as it is from the future: not
 * zeros, which redo would take for a block that does not exist.
 */
static void
put(const RelFile *f, ForkNumber fork, BlockNumber block, const char *image)
{
	Buffer		b = READ(*f, fork, block, RBM_ZERO_AND_LOCK);
	Page		p = BufferGetPage(b);

	if (image != NULL)
		memcpy(p, image, BLCKSZ);
	else
	{
		PageInit(p, BLCKSZ, 0);
		PageSetLSN(p, PG_UINT64_MAX);
	}
	UnlockReleaseBuffer(b);
}

/* pages_fork is where we keep a fork: pages of init forks would be written at once. */
ForkNumber
pages_fork(ForkNumber fork)
{
	return fork == INIT_FORKNUM ? MAIN_FORKNUM : fork;
}

/* pages_begin forgets all pages and starts with zeros. */
void
pages_begin(const Tag *tag)
{
	static const PGAlignedBlock zeros;

	asked = *tag;
	pages_forget_others();
	forget(&target, MAIN_FORKNUM);
	nmaps = 0;
#if PG_VERSION_NUM >= 170000
	/* Each record with a visibility map pins it once more. */
	relation(&target)->pincount = 1;
	relation(&other)->pincount = 1;
#endif
	put(&target, pages_fork(asked.fork), asked.block, zeros.data);
}

void
pages_push(const char *image)
{
	put(&target, pages_fork(asked.fork), asked.block, image);
}

void
pages_get(char *to)
{
	Buffer		b = READ(target, pages_fork(asked.fork), asked.block, RBM_NORMAL);

	memcpy(to, BufferGetPage(b), BLCKSZ);
	ReleaseBuffer(b);
}

bool
pages_target_is_new(void)
{
	Buffer		b = READ(target, pages_fork(asked.fork), asked.block, RBM_NORMAL);
	bool		new = PageIsNew(BufferGetPage(b));

	ReleaseBuffer(b);
	return new;
}

/* pages_rename says whether a block is the one asked for, and under which relation we keep it. */
bool
pages_rename(RelFile *rel, ForkNumber fork, BlockNumber block)
{
	bool		is_target = fork == asked.fork && block == asked.block && SameRelFile(*rel, asked.rel);

	*rel = is_target ? target : other;
	others |= !is_target;
	return is_target;
}

/* pages_put_other puts a page that is not asked for, and that the record is not to change. */
void
pages_put_other(ForkNumber fork, BlockNumber block)
{
	put(&other, fork, block, NULL);
}

/* The free space map's page of a heap block: leaves lie behind their parents, all in one numbering. */
static BlockNumber
fsm_block(BlockNumber heap_block)
{
	const int	depth = SlotsPerFSMPage >= 1626 ? 3 : 4;
	BlockNumber leaf = heap_block / SlotsPerFSMPage;
	BlockNumber pages = 0;

	for (int level = 0; level < depth; level++)
	{
		pages += leaf + 1;
		leaf /= SlotsPerFSMPage;
	}
	return pages - 1;
}

/* The visibility map has two bits for each heap block. */
static BlockNumber
vm_block(BlockNumber heap_block)
{
	return heap_block / ((BLCKSZ - MAXALIGN(SizeOfPageHeaderData)) * 4);
}

/*
 * pages_put_maps puts the map pages of a heap block, which heap redo changes without naming them, in the relation that
 * the record is about: that of its first block. Their LSN of the far future keeps the free space map's hint from
 * being logged.
 */
void
pages_put_maps(const RelFile *rel, BlockNumber heap_block)
{
	Maps		m = {vm_block(heap_block), fsm_block(heap_block)};

	if (SameRelFile(*rel, target))
	{
		for (int i = 0; i < nmaps; i++)
			if (maps[i].vm == m.vm && maps[i].fsm == m.fsm)
				return;
		if (nmaps == MAX_MAPS)
		{
			forget(&target, FSM_FORKNUM);
			nmaps = 0;
		}
		maps[nmaps++] = m;
	}
	put(rel, VISIBILITYMAP_FORKNUM, m.vm, NULL);
	put(rel, FSM_FORKNUM, m.fsm, NULL);
}

/* pages_forget_others drops what was put for one record. */
void
pages_forget_others(void)
{
	if (others)
		forget(&other, MAIN_FORKNUM);
	others = false;
}

/* pages_release lets go of what redo holds where an error ended it. */
void
pages_release(void)
{
	const RelFile *both[] = {&target, &other};

#if PG_VERSION_NUM < 160000
	AbortBufferIO();
#endif
	UnlockBuffers();
	for (int i = 0; i < lengthof(both); i++)
	{
#if PG_VERSION_NUM < 170000
		SMgrRelation r = smgropen(*both[i], NO_BACKEND);

		/* A fake relcache entry that is about to be freed. */
		if (r->smgr_owner != NULL)
			smgrclearowner(r->smgr_owner, r);
#else
		(void) both[i];
#endif
	}
}
