/*
 * What a record that breaks the server's code gains: nothing. From sandbox_enter on a system call beyond a short list
 * kills the process: no files, no sockets, no programs, no memory that can be executed.
 */
#include "strata_redo.h"

#ifdef __linux__

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

#ifdef ARCH

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define KILL BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)
#define ALLOW_CALL(nr) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (nr), 0, 1), ALLOW
/* Memory, but not to be executed: the third argument of mmap and mprotect is how it may be used. */
#define ALLOW_UNLESS_EXEC(nr) \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (nr), 0, 4), \
	LOAD(args[2]), \
	BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 1), \
	KILL, ALLOW

static struct sock_filter filter[] = {
	LOAD(arch),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0),
	KILL,
	LOAD(nr),
	ALLOW_CALL(__NR_read),
	ALLOW_CALL(__NR_write),
	ALLOW_CALL(__NR_brk),
	ALLOW_CALL(__NR_munmap),
	ALLOW_CALL(__NR_mremap),
	ALLOW_CALL(__NR_madvise),
	ALLOW_CALL(__NR_futex),
	ALLOW_CALL(__NR_getpid),
	ALLOW_CALL(__NR_clock_gettime),
	ALLOW_CALL(__NR_gettimeofday),
	ALLOW_CALL(__NR_rt_sigprocmask),
	ALLOW_CALL(__NR_rt_sigreturn),
	ALLOW_CALL(__NR_restart_syscall),
	ALLOW_CALL(__NR_exit),
	ALLOW_CALL(__NR_exit_group),
	ALLOW_UNLESS_EXEC(__NR_mmap),
	ALLOW_UNLESS_EXEC(__NR_mprotect),
	KILL,
};

static void
shut(void)
{
	struct sock_fprog program = {lengthof(filter), filter};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		give_up("no sandbox can be made here: seccomp: %m");
}

/* prove shows with a child that the wall stands: it has to die of opening a file. */
static void
prove(void)
{
	int			status;
	pid_t		child = fork();

	if (child < 0)
		give_up("fork: %m");
	if (child == 0)
	{
		shut();
		(void) open("/dev/null", O_RDONLY);
		_exit(0);
	}
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			give_up("waitpid: %m");
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
		give_up("the sandbox does not hold: a process in it opened a file (status %d)", status);
}

void
sandbox_enter(void)
{
	const struct rlimit none = {0, 0};

	if (setrlimit(RLIMIT_CORE, &none) != 0 || setrlimit(RLIMIT_FSIZE, &none) != 0)
		give_up("setrlimit: %m");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		give_up("prctl: %m");
	prove();
	shut();
}

#else

void
sandbox_enter(void)
{
	give_up("no list of system calls for this processor");
}

#endif

#else

void
sandbox_enter(void)
{
	give_up("sandboxes are for Linux");
}

#endif
