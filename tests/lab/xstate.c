/*
 * Copyright: (c) 2026, the ocfs2.o2cb authors
 * GNU General Public License v3.0-or-later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Lets a User-Mode kernel run on a processor with AMX. Preloaded into linux.uml.
 *
 * Since Linux 5.16 the host takes the registers of a traced process only as a whole (arch/x86/kernel/fpu/regset.c,
 * xstateregs_set: anything shorter is EFAULT). With AMX the whole is 11,008 bytes. The User-Mode kernel knows nothing
 * beyond AVX-512 and hands over 2,696. What is missing is AMX's tiles, which no program of a node can use, since it
 * would have to ask for them with an arch_prctl that the User-Mode kernel does not know: zeros are right.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

#define MOST 65536

static char whole[MOST] __attribute__((aligned(64)));
static size_t length; /* Of the whole, in bytes; 0 as long as the host takes what it is given. */

static long (*host)(int, pid_t, void *, void *);

__attribute__((constructor)) static void find_host(void)
{
	host = (long (*)(int, pid_t, void *, void *))dlsym(RTLD_NEXT, "ptrace");
}

static long set_whole(pid_t pid, void *kind, const struct iovec *part)
{
	struct iovec all = { .iov_base = whole, .iov_len = length };

	memcpy(whole, part->iov_base, part->iov_len);
	return host(PTRACE_SETREGSET, pid, kind, &all);
}

long ptrace(enum __ptrace_request request, ...)
{
	va_list rest;
	va_start(rest, request);
	pid_t pid = va_arg(rest, pid_t);
	void *address = va_arg(rest, void *);
	void *data = va_arg(rest, void *);
	va_end(rest);

	const struct iovec *part = data;
	if (request != PTRACE_SETREGSET || (long)address != NT_X86_XSTATE)
		return host(request, pid, address, data);
	if (length > part->iov_len)
		return set_whole(pid, address, part);
	long result = host(request, pid, address, data);
	if (result == 0 || errno != EFAULT || length)
		return result;

	struct iovec all = { .iov_base = whole, .iov_len = MOST };
	if (host(PTRACE_GETREGSET, pid, address, &all) != 0 || all.iov_len <= part->iov_len) {
		errno = EFAULT;
		return -1;
	}
	length = all.iov_len;
	memset(whole, 0, MOST);
	return set_whole(pid, address, part);
}
