/* SPDX-License-Identifier: Apache-2.0 */
/* The smallest /init: user space runs, touches memory, tells what interrupts came, and powers off. */
#include "runtime.h"

static char memory[8 << 20];
static char buffer[4096];

static void show(const char *path)
{
	long file = open_file(path, O_RDONLY), octets;

	while ((octets = call(__NR_read, file, buffer, sizeof(buffer), 0)) > 0)
		call(__NR_write, CONSOLE, buffer, octets, 0);
	call(__NR_close, file, 0, 0, 0);
}

void __attribute__((noreturn)) _start(void)
{
	print("== user space is alive\n");
	for (size_t at = 0; at < sizeof(memory); at += 4096)
		memory[at] = 1;
	print("== touched 8 MiB\n");
	mount("proc", "/proc");
	show("/proc/interrupts");
	print("== bye\n");
	power_off();
}
