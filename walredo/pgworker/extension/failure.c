/*
 * Errors of the server's code, and the page that is answered then.
 *
 * Redo routines end in ERROR or, mostly, in PANIC when a record does not fit its page. Either way they hold pins and
 * locks of our buffers and nothing else, so that we let go of those and serve on; the page is lost with the request.
 */
#include "strata_redo.h"

#include <setjmp.h>
#include <stdarg.h>

#include "miscadmin.h"
#include "storage/lwlock.h"
#include "utils/elog.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

/* The protocol's failure page. */
#define MAGIC "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF" "strata redo err"	/* and its 0 */
#define OFF_CODE 24
#define OFF_RMGR 25
#define OFF_INFO 26
#define OFF_LSN 28
#define OFF_LENGTH 36
#define OFF_TEXT 38

static struct
{
	bool		pending;
	FailureCode code;
	RmgrId		rmgr;
	uint8		info;
	XLogRecPtr	end;
	char		text[1024];
}			failure;

static sigjmp_buf *guard;
static emit_log_hook_type next_log_hook;

void
failure_set(FailureCode code, const char *format,...)
{
	va_list		args;

	failure.pending = true;
	failure.code = code;
	va_start(args, format);
	vsnprintf(failure.text, sizeof(failure.text), format, args);
	va_end(args);
}

void
failure_of_record(RmgrId rmgr, uint8 info, XLogRecPtr end)
{
	failure.rmgr = rmgr;
	failure.info = info;
	failure.end = end;
}

bool
failure_pending(void)
{
	return failure.pending;
}

const char *
failure_text(void)
{
	return failure.text;
}

void
failure_clear(void)
{
	memset(&failure, 0, sizeof(failure));
}

/* failure_page makes the answer. */
void
failure_page(char *to)
{
	uint16		n = strlen(failure.text);

	memset(to, 0, BLCKSZ);
	memcpy(to, MAGIC, sizeof(MAGIC));
	to[OFF_CODE] = failure.code;
	to[OFF_RMGR] = failure.rmgr;
	to[OFF_INFO] = failure.info;
	for (int i = 0; i < 8; i++)
		to[OFF_LSN + i] = (char) (failure.end >> (56 - 8 * i));
	to[OFF_LENGTH] = n >> 8;
	to[OFF_LENGTH + 1] = n & 0xff;
	memcpy(to + OFF_TEXT, failure.text, n);
}

/* An error in the server's words. What is no fault of the record is told apart by its code. */
static void
take(const ErrorData *e)
{
	FailureCode code = FAILED_CORRUPT;

	if (ERRCODE_TO_CATEGORY(e->sqlerrcode) == ERRCODE_INSUFFICIENT_RESOURCES)
		code = FAILED_OTHER;
	failure_set(code, "%s", e->message ? e->message : "an error without a message");
}

/* Called for what would be logged. FATAL and PANIC would end the process after it. */
static void
on_log(ErrorData *e)
{
	if (guard != NULL && e->elevel >= FATAL)
	{
		take(e);
		siglongjmp(*guard, 1);
	}
	if (next_log_hook)
		next_log_hook(e);
}

void
failure_init(void)
{
	StaticAssertStmt(sizeof(MAGIC) == OFF_CODE, "the magic fills the space before the code");
	next_log_hook = emit_log_hook;
	emit_log_hook = on_log;
	CurrentResourceOwner = ResourceOwnerCreate(NULL, "strata redo");
}

/* What an aborted transaction would do. */
static void
clean_up(void)
{
	ResourceOwner owner = CurrentResourceOwner;

	InterruptHoldoffCount = 0;
	QueryCancelHoldoffCount = 0;
	CritSectionCount = 0;
	error_context_stack = NULL;
	LWLockReleaseAll();
	pages_release();
	ResourceOwnerRelease(owner, RESOURCE_RELEASE_BEFORE_LOCKS, false, true);
	ResourceOwnerRelease(owner, RESOURCE_RELEASE_LOCKS, false, true);
	ResourceOwnerRelease(owner, RESOURCE_RELEASE_AFTER_LOCKS, false, true);
	/* From 17 on an owner that has begun to release takes nothing more. */
	CurrentResourceOwner = NULL;
	ResourceOwnerDelete(owner);
	CurrentResourceOwner = ResourceOwnerCreate(NULL, "strata redo");
	FlushErrorState();
}

/* failure_guard runs body; false says that an error ended it, which is kept. */
bool
failure_guard(void (*body) (void *), void *arg)
{
	MemoryContext cxt = CurrentMemoryContext;
	sigjmp_buf	here;

	if (sigsetjmp(here, 0) == 0)
	{
		guard = PG_exception_stack = &here;
		body(arg);
		guard = PG_exception_stack = NULL;
		return true;
	}
	guard = PG_exception_stack = NULL;
	if (!failure.pending)		/* an ERROR does not pass by on_log */
	{
		ErrorData  *e;

		MemoryContextSwitchTo(cxt);
		e = CopyErrorData();
		take(e);
	}
	clean_up();
	MemoryContextSwitchTo(cxt);
	return false;
}
