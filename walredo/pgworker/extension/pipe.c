/*
 * Bytes in and out. Answers gather until the next read would wait, so that a burst of questions is answered in
 * few writes.
 */
#include "strata_redo.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static char in[256 * 1024];
static size_t in_at,
			in_end;
static char out[32 * BLCKSZ];
static size_t out_end;

void
pipe_flush(void)
{
	size_t		done = 0;

	while (done < out_end)
	{
		ssize_t		n = write(STDOUT_FILENO, out + done, out_end - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			_exit(1);			/* nobody is there who could be told */
		done += n;
	}
	out_end = 0;
}

void
pipe_write(const char *from, size_t n)
{
	if (n > sizeof(out) - out_end)
		pipe_flush();
	memcpy(out + out_end, from, n);
	out_end += n;
}

/* pipe_read is false where the input ends. */
bool
pipe_read(char *to, size_t n)
{
	while (n > 0)
	{
		size_t		k;

		if (in_at == in_end)
		{
			ssize_t		r;

			pipe_flush();
			r = read(STDIN_FILENO, in, sizeof(in));
			if (r < 0 && errno == EINTR)
				continue;
			if (r <= 0)
				return false;
			in_at = 0;
			in_end = r;
		}
		k = Min(n, in_end - in_at);
		memcpy(to, in + in_at, k);
		in_at += k;
		to += k;
		n -= k;
	}
	return true;
}

/* give_up says why and ends the process, after the answers to what came before. */
void
give_up(const char *format,...)
{
	char		text[2048];
	va_list		args;
	int			n;

	pipe_flush();
	n = snprintf(text, sizeof(text), "strata_redo: ");
	va_start(args, format);
	n += vsnprintf(text + n, sizeof(text) - n - 1, format, args);
	va_end(args);
	n = Min(n, (int) sizeof(text) - 2);
	text[n++] = '\n';
	if (write(STDERR_FILENO, text, n) < 0)
		_exit(2);
	_exit(1);
}
