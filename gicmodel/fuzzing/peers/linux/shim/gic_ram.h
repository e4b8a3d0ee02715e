/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's part of RAM, which the GIC reads and writes too: its lower half are pages, its upper half objects.
 *
 * What is free and has been in use is full of a poison: who still writes there, the driver or the GIC, is found out when
 * it is used again, or by ram_check.
 */
#ifndef SHIM_GIC_RAM_H
#define SHIM_GIC_RAM_H

#define RAM_POISON 0x6b
#define RAM_GARBAGE 0xa5
#define RAM_CLASSES 40

enum { PAGE_NEW, PAGE_BUSY, PAGE_FREED };
struct ram_object { u64 class, live, pad[6]; };

static u8 *ram, *ram_state, *ram_order;
static u64 ram_address, ram_bytes, ram_pages, ram_next;
static struct ram_object *ram_free[RAM_CLASSES];

/* `bytes` of RAM, which the caller owns, at a physical address. */
static void ram_begin(u8 *where, u64 address, u64 bytes)
{
	ram = where;
	ram_address = address;
	ram_bytes = bytes;
	ram_next = bytes / 2;
	ram_pages = ram_next >> PAGE_SHIFT;
	ram_state = calloc(ram_pages, 1);
	ram_order = calloc(ram_pages, 1);
}

static void ram_poisoned(const u8 *where, u64 bytes)
{
	for (u64 i = 0; i < bytes; i++) {
		if (where[i] == RAM_POISON)
			continue;
		shim_warn(__func__, "memory that is free was written");
		return;
	}
}

/* Every page that has been given back is as it was then. */
static void ram_check(void)
{
	for (u64 page = 0; page < ram_pages; page++)
		if (ram_state[page] == PAGE_FREED)
			ram_poisoned(ram + (page << PAGE_SHIFT), PAGE_SIZE);
}

/* A page's number is the distance of its `struct page` from this. */
#define PAGES ((struct page *)ram_state)

void *page_address(const struct page *page)
{
	return ram + ((u64)(page - PAGES) << PAGE_SHIFT);
}

u64 virt_to_phys(const volatile void *address)
{
	u64 offset = (const u8 *)address - ram;

	WARN_ON(offset >= ram_bytes);
	return ram_address + offset;
}

/* The first free pages that will do, aligned to their number, as a buddy allocator has them. */
struct page *alloc_pages(gfp_t flags, unsigned int order)
{
	u64 count = 1ULL << order, taken;

	for (u64 first = 0; first + count <= ram_pages; first += count) {
		for (taken = 0; taken < count && ram_state[first + taken] != PAGE_BUSY; taken++)
			;
		if (taken < count)
			continue;
		for (u64 page = first; page < first + count; page++) {
			if (ram_state[page] == PAGE_FREED)
				ram_poisoned(ram + (page << PAGE_SHIFT), PAGE_SIZE);
			ram_state[page] = PAGE_BUSY;
		}
		ram_order[first] = order;
		memset(ram + (first << PAGE_SHIFT), flags & __GFP_ZERO ? 0 : RAM_GARBAGE, count << PAGE_SHIFT);
		return PAGES + first;
	}
	return NULL;
}

void free_pages(unsigned long address, unsigned int order)
{
	u64 first = ((u8 *)address - ram) >> PAGE_SHIFT, count = 1ULL << order;

	if (WARN_ON(first >= ram_pages || ram_state[first] != PAGE_BUSY || ram_order[first] != order))
		return;
	memset(ram_state + first, PAGE_FREED, count);
	memset((void *)address, RAM_POISON, count << PAGE_SHIFT);
}

/* Objects of up to 2^class bytes, aligned to 64. */
void *shim_kmalloc(size_t bytes, bool zero)
{
	int class = bytes <= 64 ? 6 : get_count_order(bytes);
	struct ram_object *object = ram_free[class];

	if (object) {
		ram_free[class] = (struct ram_object *)object->pad[0];
		ram_poisoned((u8 *)(object + 1), 1ULL << class);
	} else {
		object = (struct ram_object *)(ram + ram_next);
		ram_next += sizeof(*object) + (1ULL << class);
		BUG_ON(ram_next > ram_bytes);
	}
	object->class = class;
	object->live = true;
	return memset(object + 1, zero ? 0 : RAM_GARBAGE, 1ULL << class);
}

void kfree(const void *pointer)
{
	struct ram_object *object = (struct ram_object *)pointer - 1;

	if (!pointer || WARN_ON(!object->live))
		return;
	object->live = false;
	memset(object + 1, RAM_POISON, 1ULL << object->class);
	object->pad[0] = (u64)ram_free[object->class];
	ram_free[object->class] = object;
}

/* ---- pools of small pieces: a bit for each piece of 2^order bytes of a chunk ---- */

#define POOL_PIECES 1024

struct gen_pool { int order; struct pool_chunk *chunks; };
struct pool_chunk { struct pool_chunk *next; unsigned long start, used[POOL_PIECES / BITS_PER_LONG]; size_t bytes; };

struct gen_pool *gen_pool_create(int order, int node)
{
	struct gen_pool *pool = calloc(1, sizeof(*pool));

	/* The driver asks for pieces of the order of a page count: of one byte. Nothing it allocates is below 256. */
	pool->order = max(order, 8);
	return pool;
}

int gen_pool_add(struct gen_pool *pool, unsigned long address, size_t bytes, int node)
{
	struct pool_chunk *chunk = calloc(1, sizeof(*chunk));

	chunk->start = address;
	chunk->bytes = bytes;
	chunk->next = pool->chunks;
	pool->chunks = chunk;
	return 0;
}

unsigned long gen_pool_alloc(struct gen_pool *pool, size_t bytes)
{
	int order = get_count_order(DIV_ROUND_UP(bytes, 1UL << pool->order)), first;

	for (struct pool_chunk *chunk = pool->chunks; chunk; chunk = chunk->next) {
		first = bitmap_find_free_region(chunk->used, chunk->bytes >> pool->order, order);
		if (first >= 0)
			return chunk->start + ((unsigned long)first << pool->order);
	}
	return 0;
}

void gen_pool_free(struct gen_pool *pool, unsigned long address, size_t bytes)
{
	int order = get_count_order(DIV_ROUND_UP(bytes, 1UL << pool->order));

	for (struct pool_chunk *chunk = pool->chunks; chunk; chunk = chunk->next)
		if (address - chunk->start < chunk->bytes)
			bitmap_release_region(chunk->used, (address - chunk->start) >> pool->order, order);
}
#endif
