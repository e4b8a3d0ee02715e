/* SPDX-License-Identifier: Apache-2.0 */
/* What an init program without a C library needs: system calls, lines of text on the console. AArch64 Linux. */
#ifndef RUNTIME_H
#define RUNTIME_H

#include <stddef.h>
#include <stdint.h>
#include <asm/unistd.h>
#include <linux/reboot.h>

#define AT_FDCWD (-100)
#define O_RDONLY 0
#define O_WRONLY 1
#define O_RDWR 2
#define CONSOLE 1

static long call6(long number, long a, long b, long c, long d, long e, long f)
{
	register long x8 asm("x8") = number;
	register long x0 asm("x0") = a;
	register long x1 asm("x1") = b;
	register long x2 asm("x2") = c;
	register long x3 asm("x3") = d;
	register long x4 asm("x4") = e;
	register long x5 asm("x5") = f;

	asm volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
	return x0;
}

#define call(number, a, b, c, d) call6(number, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)

/* The compiler may ask for these. */
void *memset(void *to, int value, size_t count)
{
	for (char *octet = to; count--; octet++)
		*octet = value;
	return to;
}

void *memcpy(void *to, const void *from, size_t count)
{
	for (size_t n = 0; n < count; n++)
		((char *)to)[n] = ((const char *)from)[n];
	return to;
}

static size_t length(const char *text)
{
	size_t count = 0;

	while (text[count])
		count++;
	return count;
}

static long open_file(const char *path, int flags)
{
	return call(__NR_openat, AT_FDCWD, path, flags, 0);
}

static void print(const char *text)
{
	call(__NR_write, CONSOLE, text, length(text), 0);
}

static void print_number(long value)
{
	char text[24], *digit = text + sizeof(text) - 1;
	unsigned long rest = value < 0 ? -(unsigned long)value : (unsigned long)value;

	*digit = 0;
	do
		*--digit = '0' + rest % 10;
	while (rest /= 10);
	if (value < 0)
		*--digit = '-';
	print(digit);
}

static void print_hex(uint64_t value, int digits)
{
	char text[17];

	for (int n = 0; n < digits; n++)
		text[n] = "0123456789abcdef"[value >> 4 * (digits - 1 - n) & 15];
	text[digits] = 0;
	print(text);
}

/* "what: value", as errors are negative. */
static long report(const char *what, long value)
{
	print(what);
	print(": ");
	print_number(value);
	print("\n");
	return value;
}

static void mount(const char *type, const char *path)
{
	call6(__NR_mount, (long)"none", (long)path, (long)type, 0, 0, 0);
}

static void __attribute__((noreturn)) power_off(void)
{
	call(__NR_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_POWER_OFF, 0);
	for (;;)
		;
}

#endif
