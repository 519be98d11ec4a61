/*
 * Start, and the messages of the protocol. A request is B, at most one P, an A for each record, and G. Nothing of it
 * outlives it: pages go with the next B, memory with each message.
 */
#include "strata_redo.h"

#include <sys/ipc.h>
#include <sys/shm.h>
#include <unistd.h>

#include "fmgr.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "storage/pg_shmem.h"
#include "utils/guc.h"
#include "utils/memutils.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

#define HEADER_SIZE 5			/* type, length */
#define LENGTH_SIZE 4
#define TAG_SIZE 17
#define LSN_SIZE 8
/* The longest record that can be stored (page.MaxValueSize), and its LSN. */
#define MAX_PAYLOAD ((1 << 28) - 1 + LSN_SIZE)
/* Longer messages get memory of their own, which goes with them. */
#define USUAL_PAYLOAD (64 * 1024)

static bool report_failures = false;

static Tag	asked;
static bool begun;

static uint32
be32(const char *p)
{
	const uint8 *u = (const uint8 *) p;

	return (uint32) u[0] << 24 | u[1] << 16 | u[2] << 8 | u[3];
}

static uint64
be64(const char *p)
{
	return (uint64) be32(p) << 32 | be32(p + 4);
}

static Tag
tag(const char *p)
{
	Tag			t = {
		.fork = (ForkNumber) (uint8) p[0],
		.rel = RELFILE(be32(p + 1), be32(p + 5), be32(p + 9)),
		.block = be32(p + 13),
	};

	if (t.fork > MAX_FORKNUM || t.block == InvalidBlockNumber)
		give_up("a request for fork %d, block %u", (int) t.fork, t.block);
	return t;
}

/* same_tag ends the process if the message is not about the page of the request. */
static void
same_tag(char type, const char *p)
{
	Tag			t = tag(p);

	if (t.fork != asked.fork || t.block != asked.block || !SameRelFile(t.rel, asked.rel))
		give_up("message '%c' names another block than the request it belongs to", type);
}

static void
ping(void)
{
	static const PGAlignedBlock zeros;

	begun = false;
	pipe_write(zeros.data, BLCKSZ);
}

static void
begin(const char *payload)
{
	asked = tag(payload);
	begun = true;
	failure_clear();
	pages_begin(&asked);
}

static void
apply(const char *payload, size_t n)
{
	if (failure_pending())
		return;
	apply_record(be64(payload), payload + LSN_SIZE, n - LSN_SIZE);
	if (failure_pending() && !report_failures)
		give_up("%s", failure_text());
}

static void
get(void)
{
	PGAlignedBlock page;

	begun = false;
	if (failure_pending())
		failure_page(page.data);
	else
		pages_get(page.data);
	pipe_write(page.data, BLCKSZ);
}

/* check_length ends the process if no message of the type has so many bytes, before there is memory for them. */
static void
check_length(char type, uint32 n)
{
	bool		right;

	switch (type)
	{
		case 'B':
		case 'G':
			right = n == TAG_SIZE;
			break;
		case 'P':
			right = n == TAG_SIZE + BLCKSZ;
			break;
		case 'A':
			right = n >= LSN_SIZE && n <= MAX_PAYLOAD;
			break;
		case 'H':
			right = n == 0;
			break;
		default:
			give_up("not a message of the redo protocol: type %d", (unsigned char) type);
	}
	if (!right)
		give_up("not a message of the redo protocol: type '%c' with %u bytes", type, n);
}

static void
message(char type, const char *payload, size_t n)
{
	if (type == 'H')
		ping();
	else if (type == 'B')
		begin(payload);
	else if (!begun)
		give_up("message '%c' outside of a request", type);
	else if (type == 'A')
		apply(payload, n);
	else
	{
		same_tag(type, payload);
		if (type == 'G')
			get();
		else if (!failure_pending())
			pages_push(payload + TAG_SIZE);
	}
}

static void
serve(void)
{
	/* The record in it lies eight bytes behind its start, aligned as the server wants it. */
	static union
	{
		char		bytes[USUAL_PAYLOAD];
		uint64		align;
	}			usual;
	MemoryContext cxt = AllocSetContextCreate(TopMemoryContext, "strata redo", ALLOCSET_DEFAULT_SIZES);
	char		header[HEADER_SIZE];

	MemoryContextSwitchTo(cxt);
	while (pipe_read(header, HEADER_SIZE))
	{
		uint32		n = be32(header + 1) - LENGTH_SIZE;
		char	   *payload = usual.bytes;

		check_length(header[0], n);
		if (n > sizeof(usual.bytes) &&
			(payload = MemoryContextAllocExtended(cxt, n, MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM)) == NULL)
			give_up("no memory for a record of %u bytes", n);
		if (!pipe_read(payload, n))
			give_up("the input ends within a message");
		message(header[0], payload, n);
		MemoryContextReset(cxt);
	}
}

/* The segment that tells servers of one data directory from each other goes with us, even if we are killed. */
static void
disown_shared_memory(void)
{
	int			id = shmget((key_t) UsedShmemSegID, 0, 0);

	if (id >= 0 && shmctl(id, IPC_RMID, NULL) != 0)
		give_up("shmctl: %m");
}

void
_PG_init(void)
{
	static const int ending[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGPIPE, SIGALRM};

	DefineCustomBoolVariable("strata_redo.report_failures",
							 "Answer a request that fails with a page that says why, instead of ending.",
							 NULL, &report_failures, false, PGC_BACKEND, 0, NULL, NULL, NULL);
	if (IsUnderPostmaster || process_shared_preload_libraries_in_progress || IsBootstrapProcessingMode())
		ereport(FATAL, (errmsg("strata_redo is for a server of its own: postgres --single -c session_preload_libraries=...")));
	/* A server would finish what it does first. */
	for (int i = 0; i < lengthof(ending); i++)
		pqsignal(ending[i], SIG_DFL);
	failure_init();
	pages_init();
	apply_init();
	disown_shared_memory();
	sandbox_enter();
	serve();
	pipe_flush();
	_exit(0);
}
