/*
 * Lets Debian's user-mode Linux 6.1 run on processors with a large register file.
 *
 * UML saves and restores the registers of its processes with PTRACE_GETREGSET and
 * PTRACE_SETREGSET in a buffer of 2696 bytes, enough for AVX-512. The host kernel only
 * accepts a SETREGSET of NT_X86_XSTATE that is exactly as long as its own save area, and
 * where the processor has AMX that is 11008 bytes. UML then dies with "ptrace set fp regs
 * failed, errno = 14" before it starts init.
 *
 * Preloaded into linux.uml, this wraps ptrace(): a SETREGSET that is too short is laid over
 * a freshly read, full-length state and written back whole. On other machines it does nothing.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define XSTATE_MAX 32768
#define XSTATE_BV_AT 512 /* the XSAVE header's bitmap of components in use */
#define AMX_COMPONENTS ((1ULL << 17) | (1ULL << 18))

static long raw_ptrace(long request, long pid, void *addr, void *data)
{
	return syscall(SYS_ptrace, request, pid, addr, data);
}

long ptrace(enum __ptrace_request request, ...)
{
	va_list args;
	va_start(args, request);
	pid_t pid = va_arg(args, pid_t);
	void *addr = va_arg(args, void *);
	void *data = va_arg(args, void *);
	va_end(args);

	/* glibc's ptrace() returns the word that a PEEK read; the system call stores it. */
	if (request == PTRACE_PEEKTEXT || request == PTRACE_PEEKDATA || request == PTRACE_PEEKUSER) {
		long word;
		long rc = raw_ptrace(request, pid, addr, &word);
		if (rc < 0)
			return rc;
		errno = 0;
		return word;
	}

	long rc = raw_ptrace(request, pid, addr, data);
	if (rc == 0 || errno != EFAULT || request != PTRACE_SETREGSET || addr != (void *)NT_X86_XSTATE)
		return rc;

	/* UML runs on small stacks, single threaded. */
	static unsigned char full[XSTATE_MAX] __attribute__((aligned(64)));
	struct iovec *wanted = data;
	struct iovec whole = {.iov_base = full, .iov_len = sizeof full};
	if (raw_ptrace(PTRACE_GETREGSET, pid, addr, &whole) < 0)
		return -1;
	if (wanted->iov_len >= whole.iov_len || wanted->iov_len < XSTATE_BV_AT + sizeof(uint64_t)) {
		errno = EFAULT;
		return -1;
	}
	memcpy(full, wanted->iov_base, wanted->iov_len);
	uint64_t in_use;
	memcpy(&in_use, full + XSTATE_BV_AT, sizeof in_use);
	in_use &= ~AMX_COMPONENTS; /* UML did not save these: leave them in their initial state */
	memcpy(full + XSTATE_BV_AT, &in_use, sizeof in_use);
	return raw_ptrace(PTRACE_SETREGSET, pid, addr, &whole);
}
