/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What C files of the Linux kernel need of it, for one thread of user space.
 *
 * Locks do nothing, as nobody else is there; memory comes from calloc; an xarray is a sorted array. BUG(), and a fault in
 * the kernel's code, end the call from outside that led there: `guarded`. Each function and macro behaves as the one of
 * its name that Linux documents, as far as a single thread can tell.
 *
 * Headers that the kernel's code includes and that are not of the files taken from the kernel are made at build time:
 * each includes `kernel.h`, or what stands in for a whole subsystem.
 */
#ifndef SHIM_KERNEL_H
#define SHIM_KERNEL_H

#include <errno.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

/* ---- types ---- */

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
typedef u8 __u8;
typedef u16 __u16;
typedef u32 __u32;
typedef u64 __u64;
typedef s32 __s32;
typedef s64 __s64;
typedef u16 __le16;
typedef u32 __le32;
typedef u64 __le64;
typedef u64 gpa_t, gfn_t, hpa_t, phys_addr_t;
typedef unsigned long irq_hw_number_t;
typedef unsigned int gfp_t;
typedef int irqreturn_t;

#ifndef ENOTSUPP
#define ENOTSUPP 524
#endif

/* ---- annotations of the compiler, of sparse and of lockdep ---- */

#undef __always_inline
#undef __attribute_const__
#define __always_inline inline
#define __attribute_const__
#define __maybe_unused __attribute__((unused))
#define __user
#define __iomem
#define __init
#define __ro_after_init
#define __must_check
#define __percpu
#define __rcu
#define __force
#define __pure
#define __cacheline_aligned
#define __randomize_layout
#define __releases(lock)
#define __acquires(lock)
#define __context_unsafe(why)
#define __printf(format, first)
#define noinstr
#define notrace
#define asmlinkage
#define fallthrough do {} while (0)
#define likely(x) (x)
#define unlikely(x) (x)
#define EXPORT_SYMBOL(symbol)
#define EXPORT_SYMBOL_GPL(symbol)
#define ALTERNATIVE_CB(...) "nop"
struct alt_instr;

/* ---- numbers ---- */

#define _AC(x, suffix) x##suffix
#define UL(x) x##UL
#define ULL(x) x##ULL
#define _UL UL
#define _ULL ULL
#define BITS_PER_BYTE 8
#define BITS_PER_LONG 64
#define BITS_PER_LONG_LONG 64
#define BIT(n) (1UL << (n))
#define BIT_ULL(n) (1ULL << (n))
#define BIT_U64 BIT_ULL
#define GENMASK(high, low) ((~0UL << (low)) & (~0UL >> (63 - (high))))
#define GENMASK_ULL(high, low) ((~0ULL << (low)) & (~0ULL >> (63 - (high))))
#define GENMASK_U64 GENMASK_ULL
#define shim_shift(mask) (__builtin_ffsll(mask) - 1)
#define FIELD_GET(mask, word) ((typeof(mask))(((word) & (mask)) >> shim_shift(mask)))
#define FIELD_PREP(mask, value) (((typeof(mask))(value) << shim_shift(mask)) & (mask))
#define min(a, b) ({ __auto_type _a = (a); __auto_type _b = (b); _a < _b ? _a : _b; })
#define max(a, b) ({ __auto_type _a = (a); __auto_type _b = (b); _a > _b ? _a : _b; })
#define min_t(type, a, b) ({ type _a = (a); type _b = (b); _a < _b ? _a : _b; })
#define max_t(type, a, b) ({ type _a = (a); type _b = (b); _a > _b ? _a : _b; })
#define swap(a, b) do { typeof(a) _t = (a); (a) = (b); (b) = _t; } while (0)
#define ilog2(x) (63 - __builtin_clzll(x))
#define hweight8(x) __builtin_popcount((u8)(x))
#define hweight_long(x) __builtin_popcountl(x)
#define ALIGN(x, a) (((x) + (a) - 1) & ~((typeof(x))(a) - 1))
#define IS_ALIGNED(x, a) (((x) & ((typeof(x))(a) - 1)) == 0)
#define DIV_ROUND_UP(n, d) (((n) + (d) - 1) / (d))
#define lower_32_bits(x) ((u32)(x))
#define upper_32_bits(x) ((u32)((u64)(x) >> 32))
#define le16_to_cpu(x) (x)
#define le32_to_cpu(x) (x)
#define le64_to_cpu(x) (x)
#define cpu_to_le16(x) (x)
#define cpu_to_le32(x) (x)
#define cpu_to_le64(x) (x)
#define SZ_4K 0x1000
#define SZ_64K 0x10000
#define SZ_1M 0x100000
#ifndef PAGE_SHIFT
#define PAGE_SHIFT 12
#endif
#define PAGE_SIZE (1UL << PAGE_SHIFT)
#define PAGE_MASK (~(PAGE_SIZE - 1))

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define container_of(pointer, type, member) ((type *)((char *)(pointer) - offsetof(type, member)))
#define container_of_const container_of
#define __stringify_1(x) #x
#define __stringify(x) __stringify_1(x)
#define array_index_nospec(index, size) (index)

/* ---- the end of a call that the kernel would not have survived: guard.h ---- */

enum { SHIM_OOPS = -10000, SHIM_STORM = -10001, SHIM_HANG = -10002 };
void shim_die(int how, const char *where);

/* What the kernel's log would have: a warning's condition, or the text of a message of a level, as it is before printf. */
void shim_warn(const char *function, const char *text);

#define BUG() shim_die(SHIM_OOPS, __func__)
#define BUG_ON(x) do { if (x) BUG(); } while (0)
#define BUILD_BUG_ON(x) _Static_assert(!(x), #x)
#define WARN_ON(x) ({ bool _warns = !!(x); if (_warns) shim_warn(__func__, #x); _warns; })
#define WARN_ON_ONCE WARN_ON
#define WARN(x, ...) WARN_ON(x)
#define WARN_ONCE(x, ...) WARN_ON(x)
#define WARN_RATELIMIT(x, ...) WARN_ON(x)

/* ---- one thread: memory is in order, locks are free, nothing preempts ---- */

#define READ_ONCE(x) (*(const volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, value) (*(volatile typeof(x) *)&(x) = (value))
#define data_race(x) (x)
#define barrier() do {} while (0)
#define smp_mb() do {} while (0)
#define smp_rmb() do {} while (0)
#define smp_wmb() do {} while (0)
#define smp_mb__before_atomic() do {} while (0)
#define smp_mb__after_atomic() do {} while (0)
#define smp_load_acquire(pointer) READ_ONCE(*(pointer))
#define smp_store_release(pointer, value) WRITE_ONCE(*(pointer), value)
#define cmpxchg64(pointer, old, new) \
	({ typeof(*(pointer)) _was = *(pointer); if (_was == (old)) *(pointer) = (new); _was; })
#define cond_resched() do {} while (0)
#define might_sleep() do {} while (0)
#define lockdep_assert_held(lock) do {} while (0)
#define lockdep_assert_held_write(lock) do {} while (0)
#define lockdep_assert_not_held(lock) do {} while (0)
#define irqs_disabled() 1
#define local_irq_save(flags) do { (void)(flags); } while (0)
#define local_irq_restore(flags) do { (void)(flags); } while (0)
#define preempt_disable() do {} while (0)
#define preempt_enable() do {} while (0)

typedef struct { int nothing; } raw_spinlock_t, spinlock_t, rwlock_t, wait_queue_head_t, seqcount_t;
struct mutex { int nothing; };
struct srcu_struct { int nothing; };
struct rcu_head { void *nothing; };

#define mutex_init(lock) do { (void)(lock); } while (0)
#define mutex_lock(lock) do { (void)(lock); } while (0)
#define mutex_unlock(lock) do { (void)(lock); } while (0)
#define spin_lock_init(lock) do { (void)(lock); } while (0)
#define raw_spin_lock_init(lock) do { (void)(lock); } while (0)
#define raw_spin_lock(lock) do { (void)(lock); } while (0)
#define raw_spin_lock_nested(lock, class) do { (void)(lock); } while (0)
#define raw_spin_unlock(lock) do { (void)(lock); } while (0)
#define _raw_spin_unlock raw_spin_unlock
#define raw_spin_lock_irq(lock) do { (void)(lock); } while (0)
#define raw_spin_unlock_irq(lock) do { (void)(lock); } while (0)
#define raw_spin_lock_irqsave(lock, flags) do { (void)(lock); (flags) = 0; } while (0)
#define raw_spin_unlock_irqrestore(lock, flags) do { (void)(lock); (void)(flags); } while (0)
#define spin_lock_irqsave raw_spin_lock_irqsave
#define spin_unlock_irqrestore raw_spin_unlock_irqrestore
#define SINGLE_DEPTH_NESTING 1
#define srcu_read_lock(domain) ((void)(domain), 0)
#define srcu_read_unlock(domain, index) do { (void)(domain); (void)(index); } while (0)
#define synchronize_srcu_expedited(domain) do {} while (0)
#define rcu_read_lock() do {} while (0)
#define rcu_read_unlock() do {} while (0)
#define list_for_each_entry_rcu list_for_each_entry
static inline void shim_no_guard() {}
#define guard(kind) shim_no_guard
#define scoped_guard(kind, lock) for (int _once = ((void)(lock), 1); _once; _once = 0)

/* ---- counters ---- */

typedef struct { int counter; } atomic_t;
typedef struct { s64 counter; } atomic64_t;
typedef struct { int refs; } refcount_t;
struct kref { refcount_t refcount; };

#define atomic_read(a) ((a)->counter)
#define atomic_set(a, value) ((a)->counter = (value))
#define atomic_set_release atomic_set
#define atomic_inc(a) ((void)(a)->counter++)
#define atomic_dec(a) ((void)(a)->counter--)
#define atomic_fetch_inc(a) ((a)->counter++)
#define atomic_fetch_dec(a) ((a)->counter--)
#define atomic_dec_return(a) (--(a)->counter)
#define atomic_cmpxchg(a, old, new) \
	({ int _was = (a)->counter; if (_was == (int)(old)) (a)->counter = (new); _was; })
#define atomic_cmpxchg_acquire atomic_cmpxchg

#define refcount_set(r, value) ((r)->refs = (value))
#define refcount_read(r) ((r)->refs)

static inline bool refcount_inc_not_zero(refcount_t *r)
{
	if (!r->refs)
		return false;
	r->refs++;
	return true;
}

static inline bool refcount_dec_and_test(refcount_t *r)
{
	BUG_ON(r->refs <= 0);
	return --r->refs == 0;
}

#define refcount_inc(r) BUG_ON(!refcount_inc_not_zero(r))
#define refcount_dec_and_lock_irqsave(r, lock, flags) ((void)(lock), *(flags) = 0, refcount_dec_and_test(r))

#define kref_init(k) refcount_set(&(k)->refcount, 1)
#define kref_get(k) refcount_inc(&(k)->refcount)
#define kref_get_unless_zero(k) refcount_inc_not_zero(&(k)->refcount)
#define kref_read(k) refcount_read(&(k)->refcount)

static inline int kref_put(struct kref *k, void (*release)(struct kref *))
{
	if (!refcount_dec_and_test(&k->refcount))
		return 0;
	release(k);
	return 1;
}

struct static_key_false { int on; };
struct static_key_true { int on; };
#define STATIC_KEY_FALSE_INIT {0}
#define DEFINE_STATIC_KEY_FALSE(name) struct static_key_false name
#define static_branch_likely(key) ((key)->on)
#define static_branch_unlikely(key) ((key)->on)

/* ---- allocation and interrupts, as both the GIC's drivers and KVM name them ---- */

#define GFP_KERNEL 0
#define GFP_ATOMIC 0
#define GFP_NOWAIT 0
#define IRQ_NOAUTOEN 1
#define IRQ_DISABLE_UNLAZY 2
#define IRQ_NO_BALANCING 4
#define gic_read_sre() 1
#define gic_write_sre(value) do {} while (0)

struct irq_data;
struct irq_desc;
struct irq_domain;
struct page;
typedef irqreturn_t (*irq_handler_t)(int, void *);
enum irqchip_irq_state { IRQCHIP_STATE_PENDING, IRQCHIP_STATE_ACTIVE, IRQCHIP_STATE_MASKED, IRQCHIP_STATE_LINE_LEVEL };

void *page_address(const struct page *page);
struct irq_desc *irq_to_desc(unsigned int irq);
unsigned int irq_find_mapping(struct irq_domain *domain, irq_hw_number_t number);
int irq_domain_activate_irq(struct irq_data *data, bool reserve);
void irq_domain_deactivate_irq(struct irq_data *data);
int irq_set_irqchip_state(unsigned int irq, enum irqchip_irq_state which, bool state);
int irq_get_irqchip_state(unsigned int irq, enum irqchip_irq_state which, bool *state);
void enable_irq(unsigned int irq);
void disable_irq_nosync(unsigned int irq);

/* ---- bitmaps ---- */

#define BITS_TO_LONGS(n) DIV_ROUND_UP(n, BITS_PER_LONG)
#define DECLARE_BITMAP(name, bits) unsigned long name[BITS_TO_LONGS(bits)]

static inline bool test_bit(long bit, const unsigned long *map)
{
	return map[bit / BITS_PER_LONG] >> bit % BITS_PER_LONG & 1;
}

static inline void __assign_bit(long bit, unsigned long *map, bool value)
{
	unsigned long mask = BIT(bit % BITS_PER_LONG), *word = map + bit / BITS_PER_LONG;

	*word = value ? *word | mask : *word & ~mask;
}

#define __set_bit(bit, map) __assign_bit(bit, map, true)
#define __clear_bit(bit, map) __assign_bit(bit, map, false)
#define set_bit __set_bit
#define clear_bit __clear_bit

static inline unsigned long find_next_bit(const unsigned long *map, unsigned long size, unsigned long from)
{
	while (from < size && !test_bit(from, map))
		from++;
	return from < size ? from : size;
}

#define for_each_set_bit(bit, map, size) \
	for ((bit) = find_next_bit(map, size, 0); (bit) < (size); (bit) = find_next_bit(map, size, (bit) + 1))

/* ---- pointers that are errors ---- */

#define MAX_ERRNO 4095
#define ERR_PTR(error) ((void *)(long)(error))
#define PTR_ERR(pointer) ((long)(pointer))
#define IS_ERR(pointer) ((unsigned long)(pointer) >= (unsigned long)-MAX_ERRNO)
#define IS_ERR_OR_NULL(pointer) (!(pointer) || IS_ERR(pointer))
#define PTR_ERR_OR_ZERO(pointer) (IS_ERR(pointer) ? PTR_ERR(pointer) : 0)
#define ERR_CAST(pointer) ((void *)(pointer))

/* ---- lists: their functions are in the kernel's own list.h ---- */

struct list_head { struct list_head *next, *prev; };
struct hlist_head { struct hlist_node *first; };
struct hlist_node { struct hlist_node *next, **pprev; };
#define LIST_POISON1 ((void *)0x100)
#define LIST_POISON2 ((void *)0x122)

typedef int __attribute__((nonnull(2, 3))) (*list_cmp_func_t)(void *, const struct list_head *, const struct list_head *);
void list_sort(void *private, struct list_head *head, list_cmp_func_t compare);

/* ---- search ---- */

typedef int (*cmp_func_t)(const void *, const void *);

static inline void *shim_bsearch(const void *key, const void *base, size_t n, size_t bytes, cmp_func_t compare)
{
	size_t low = 0;

	while (low < n) {
		size_t middle = (low + n) / 2;
		const void *entry = (const char *)base + middle * bytes;
		int order = compare(key, entry);

		if (!order)
			return (void *)entry;
		if (order > 0)
			low = middle + 1;
		else
			n = middle;
	}
	return NULL;
}

#define bsearch shim_bsearch

/* ---- an xarray as a sorted array ---- */

struct xarray {
	spinlock_t xa_lock;
	size_t count, room;
	struct { unsigned long index; void *entry; } *slots;
};

#define XA_FLAGS_LOCK_IRQ 1

/* Where an index is, or would be. */
static inline size_t shim_xa_place(struct xarray *xa, unsigned long index)
{
	size_t low = 0, high = xa->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (xa->slots[middle].index < index)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static inline bool shim_xa_has(struct xarray *xa, size_t place, unsigned long index)
{
	return place < xa->count && xa->slots[place].index == index;
}

static inline void *xa_load(struct xarray *xa, unsigned long index)
{
	size_t place = shim_xa_place(xa, index);

	return shim_xa_has(xa, place, index) ? xa->slots[place].entry : NULL;
}

static inline void *xa_erase(struct xarray *xa, unsigned long index)
{
	size_t place = shim_xa_place(xa, index);
	void *old;

	if (!shim_xa_has(xa, place, index))
		return NULL;
	old = xa->slots[place].entry;
	xa->count--;
	memmove(xa->slots + place, xa->slots + place + 1, (xa->count - place) * sizeof(*xa->slots));
	return old;
}

static inline void *xa_store(struct xarray *xa, unsigned long index, void *entry, gfp_t flags)
{
	size_t place = shim_xa_place(xa, index);
	void *old;

	if (!entry)
		return xa_erase(xa, index);
	if (shim_xa_has(xa, place, index)) {
		old = xa->slots[place].entry;
		xa->slots[place].entry = entry;
		return old;
	}
	if (xa->count == xa->room) {
		xa->room = xa->room ? 2 * xa->room : 64;
		xa->slots = realloc(xa->slots, xa->room * sizeof(*xa->slots));
	}
	memmove(xa->slots + place + 1, xa->slots + place, (xa->count - place) * sizeof(*xa->slots));
	xa->slots[place].index = index;
	xa->slots[place].entry = entry;
	xa->count++;
	return NULL;
}

static inline void *xa_cmpxchg(struct xarray *xa, unsigned long index, void *old, void *new, gfp_t flags)
{
	void *was = xa_load(xa, index);

	if (was == old)
		xa_store(xa, index, new, flags);
	return was;
}

/* The entry of the first index that is not less than *index. */
static inline void *shim_xa_next(struct xarray *xa, unsigned long *index)
{
	size_t place = shim_xa_place(xa, *index);

	if (place == xa->count)
		return NULL;
	*index = xa->slots[place].index;
	return xa->slots[place].entry;
}

static inline void xa_destroy(struct xarray *xa)
{
	free(xa->slots);
	memset(xa, 0, sizeof(*xa));
}

#define xa_for_each(xa, index, entry) \
	for ((index) = 0, (entry) = shim_xa_next(xa, &(index)); (entry); (index)++, (entry) = shim_xa_next(xa, &(index)))
#define __xa_erase xa_erase
#define __xa_store xa_store
#define xa_init(xa) memset(xa, 0, sizeof(*(xa)))
#define xa_init_flags(xa, flags) xa_init(xa)
#define xa_empty(xa) (!(xa)->count)
#define xa_reserve_irq(xa, index, flags) ((void)(xa), 0)
#define xa_release(xa, index) do {} while (0)
#define xa_is_err(entry) IS_ERR(entry)
#define xa_err(entry) (IS_ERR(entry) ? (int)PTR_ERR(entry) : 0)
#define xa_lock(xa) do {} while (0)
#define xa_unlock(xa) do {} while (0)
#define xa_lock_irqsave(xa, flags) do { (flags) = 0; } while (0)
#define xa_unlock_irqrestore(xa, flags) do { (void)(flags); } while (0)

#endif
