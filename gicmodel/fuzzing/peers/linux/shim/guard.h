/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that the kernel's code may not survive: BUG(), or a fault, ends the call from outside, and not the process. */
#ifndef SHIM_GUARD_H
#define SHIM_GUARD_H

#include <setjmp.h>
#include <signal.h>

/* What the library has for its user. */
#define API __attribute__((visibility("default")))

static sigjmp_buf outside;
static volatile bool inside;
static const char *died_at = "";

/* The function that was the end of a call, if one was. */
API const char *shim_died_at(void)
{
	return died_at;
}

void shim_die(int how, const char *where)
{
	if (!inside) {
		fprintf(stderr, "gicmodel: the kernel's code has died outside of a call: %s\n", where);
		abort();
	}
	died_at = where;
	inside = false;
	siglongjmp(outside, how);
}

static struct sigaction outer_action;

static void faulted(int number)
{
	if (inside)
		shim_die(SHIM_OOPS, "a fault");
	sigaction(SIGSEGV, &outer_action, NULL);
}

/* Let a fault of the kernel's code end the call `result = expression` instead of the process. */
#define guarded(expression) ({ \
	struct sigaction _ours = { .sa_handler = faulted, .sa_flags = SA_NODEFER }; \
	long _result; \
	sigaction(SIGSEGV, &_ours, &outer_action); \
	_result = sigsetjmp(outside, 1); \
	if (!_result) { \
		inside = true; \
		_result = (expression); \
	} \
	inside = false; \
	sigaction(SIGSEGV, &outer_action, NULL); \
	_result; \
})

/* What the library's user may ask for; its body follows. */
#define OPERATION(name, parameters, arguments) \
	static long do_##name parameters; \
	API long name parameters { return guarded(do_##name arguments); } \
	static long do_##name parameters

#endif
