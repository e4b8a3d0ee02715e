/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Linux' GIC drivers need of the kernel: memory that the GIC reads too, CPUs, registers, firmware, and the core of
 * interrupts. gic_ram.h and gic_irqs.h have what is more than a line.
 */
#ifndef SHIM_ITS_H
#define SHIM_ITS_H

#include <limits.h>

#include "kernel.h"
#include <linux/list.h>

#define __initdata
#define __free(how)
#define S32_MAX INT_MAX
#define SZ_256 0x100
#define SZ_1K 0x400
#define SZ_8 8
#define SZ_16K 0x4000
#define SZ_32K 0x8000
#define SZ_128K 0x20000
#define USEC_PER_SEC 1000000L

#define IS_ENABLED(option) SHIM_##option
#define SHIM_CONFIG_ARM_GIC_V3_ITS 1
#define SHIM_CONFIG_SMP 1
#define SHIM_CONFIG_ARM64_64K_PAGES (PAGE_SHIFT == 16)
#define CONFIG_ARM64 1

/* The log: what is no more than information is nobody's business. */
#define pr_err(format, ...) shim_warn(__func__, format)
#define pr_err_ratelimited pr_err
#define pr_warn pr_err
#define pr_info(...) do {} while (0)
#define pr_info_once pr_info
#define pr_debug pr_info
#define TAINT_CRAP 0
#define LOCKDEP_STILL_OK 0
#define add_taint(taint, lockdep) do {} while (0)

#define DEFINE_RAW_SPINLOCK(name) raw_spinlock_t name
#define DEFINE_MUTEX(name) struct mutex name
#define FIELD_MODIFY(mask, word, value) (*(word) = (*(word) & ~(mask)) | FIELD_PREP(mask, value))

static inline bool is_power_of_2(unsigned long n)
{
	return n && !(n & (n - 1));
}

/* The exponent of the smallest power of two that is not below n. */
static inline int get_count_order(unsigned long n)
{
	return n <= 1 ? 0 : ilog2(n - 1) + 1;
}

#define roundup_pow_of_two(n) (1UL << get_count_order(n))
#define get_order(bytes) get_count_order(DIV_ROUND_UP(bytes, PAGE_SIZE))

/* ---- bitmaps ---- */

#define bitmap_zalloc(bits, flags) ((unsigned long *)calloc(BITS_TO_LONGS(bits) + 1, sizeof(long)))
#define bitmap_free(map) free(map)
#define bitmap_empty(map, bits) (find_next_bit(map, bits, 0) >= (bits))
#define test_and_set_bit(bit, map) ({ bool _was = test_bit(bit, map); set_bit(bit, map); _was; })

static inline unsigned long find_first_zero_bit(const unsigned long *map, unsigned long size)
{
	unsigned long bit = 0;

	while (bit < size && test_bit(bit, map))
		bit++;
	return bit;
}

/* The first free region of 2^order bits, aligned to its size; taken. */
static inline int bitmap_find_free_region(unsigned long *map, int bits, int order)
{
	int count = 1 << order;

	for (int first = 0; first + count <= bits; first += count) {
		if (find_next_bit(map, first + count, first) < (unsigned long)first + count)
			continue;
		for (int bit = first; bit < first + count; bit++)
			set_bit(bit, map);
		return first;
	}
	return -ENOMEM;
}

static inline void bitmap_release_region(unsigned long *map, int first, int order)
{
	for (int bit = first; bit < first + (1 << order); bit++)
		clear_bit(bit, map);
}

/* ---- memory: gic_ram.h ---- */

#define GFP_DMA32 0
#define __GFP_ZERO 1
#define NUMA_NO_NODE (-1)
/* As arch/arm64/Kconfig has it for each size of pages. */
#define MAX_PAGE_ORDER (PAGE_SHIFT == 16 ? 13 : PAGE_SHIFT == 14 ? 11 : 10)
#define MAX_ORDER (MAX_PAGE_ORDER + 1)

struct page { char nothing; };
struct page *alloc_pages(gfp_t flags, unsigned int order);
void free_pages(unsigned long address, unsigned int order);
u64 virt_to_phys(const volatile void *address);
void *shim_kmalloc(size_t bytes, bool zero);
void kfree(const void *object);

static inline struct page *alloc_pages_node(int node, gfp_t flags, unsigned int order)
{
	return alloc_pages(flags, order);
}

#define page_to_phys(page) virt_to_phys(page_address(page))
#define kmalloc(bytes, flags) shim_kmalloc(bytes, false)
#define kzalloc(bytes, flags) shim_kmalloc(bytes, true)
#define kzalloc_node(bytes, flags, node) shim_kmalloc(bytes, true)
#define kcalloc(n, bytes, flags) shim_kmalloc((size_t)(n) * (bytes), true)
#define kmalloc_array(n, bytes, flags) shim_kmalloc((size_t)(n) * (bytes), false)
#define kmalloc_obj(what, ...) ((typeof(what) *)shim_kmalloc(sizeof(what), false))
#define kmalloc_objs(what, n, ...) ((typeof(what) *)shim_kmalloc((n) * sizeof(what), false))
#define kzalloc_obj(what, ...) ((typeof(what) *)shim_kmalloc(sizeof(what), true))
#define kzalloc_objs(what, n, ...) ((typeof(what) *)shim_kmalloc((n) * sizeof(what), true))
#define kasprintf(flags, ...) ((char *)shim_kmalloc(64, true))
#define set_memory_decrypted(address, pages) 0
#define set_memory_encrypted(address, pages) 0
#define dcache_clean_inval_poc(start, end) do { (void)(start); (void)(end); } while (0)

struct gen_pool;
struct gen_pool *gen_pool_create(int order, int node);
int gen_pool_add(struct gen_pool *pool, unsigned long address, size_t bytes, int node);
unsigned long gen_pool_alloc(struct gen_pool *pool, size_t bytes);
void gen_pool_free(struct gen_pool *pool, unsigned long address, size_t bytes);

/* No earlier kernel has left tables, and there is no EFI to tell a later one. */
#define MEMREMAP_WB 0
#define memremap(address, bytes, flags) ((void *)NULL)
#define for_each_reserved_mem_range(i, start, end) for ((i) = 0; (i) < 0; (i)++)
#define is_kdump_kernel() false
#define EFI_CONFIG_TABLES 0
#define efi_enabled(what) false
#define efi_mem_reserve_persistent(address, bytes) 0

/* ---- CPUs ---- */

#define NR_CPUS 512

typedef struct cpumask { unsigned long bits[NR_CPUS / BITS_PER_LONG]; } cpumask_t;

extern unsigned int nr_cpu_ids;
extern int shim_cpu;
extern struct cpumask shim_online, shim_possible, shim_of_cpu[NR_CPUS];

#define smp_processor_id() shim_cpu
#define raw_smp_processor_id() shim_cpu
#define preemptible() false
#define task_pid_nr(task) 1
#define current NULL
#define cpu_possible_mask ((const struct cpumask *)&shim_possible)
#define cpu_online_mask ((const struct cpumask *)&shim_online)
#define cpus_booted_once_mask shim_online
#define cpumask_of(cpu) ((const struct cpumask *)&shim_of_cpu[cpu])
#define cpumask_of_node(node) cpu_online_mask
#define cpumask_first(mask) ((unsigned int)find_next_bit((mask)->bits, nr_cpu_ids, 0))
#define cpumask_empty(mask) (cpumask_first(mask) >= nr_cpu_ids)
#define cpumask_copy(to, from) (*(to) = *(from))
#define cpumask_equal(a, b) (!memcmp(a, b, sizeof(struct cpumask)))
#define cpumask_test_cpu(cpu, mask) test_bit(cpu, (mask)->bits)
#define cpumask_set_cpu(cpu, mask) set_bit(cpu, (mask)->bits)
#define cpumask_pr_args(mask) 0, (mask)
#define for_each_cpu(cpu, mask) for_each_set_bit(cpu, (mask)->bits, nr_cpu_ids)
#define for_each_possible_cpu(cpu) for ((cpu) = 0; (cpu) < nr_cpu_ids; (cpu)++)

static inline bool cpumask_and(struct cpumask *to, const struct cpumask *a, const struct cpumask *b)
{
	for (int i = 0; i < NR_CPUS / BITS_PER_LONG; i++)
		to->bits[i] = a->bits[i] & b->bits[i];
	return !cpumask_empty(to);
}

static inline unsigned int cpumask_any_and(const struct cpumask *a, const struct cpumask *b)
{
	struct cpumask both;

	cpumask_and(&both, a, b);
	return cpumask_first(&both);
}

/* The affinity of redistributor n of the model is 0.0.n/16.n%16. */
#define cpu_logical_map(cpu) ((unsigned long)(cpu) / 16 << 8 | (cpu) % 16)
#define MPIDR_AFFINITY_LEVEL(mpidr, level) ((mpidr) >> 8 * (level) & 0xff)

void *shim_per_cpu(void *variable, size_t bytes, int cpu);
#define DEFINE_PER_CPU(type, name) type name
#define per_cpu_ptr(pointer, cpu) ((typeof(pointer))shim_per_cpu(pointer, sizeof(*(pointer)), cpu))
#define raw_cpu_ptr(pointer) per_cpu_ptr(pointer, shim_cpu)
#define this_cpu_ptr raw_cpu_ptr

/* ---- registers and time: each access and each wait is a call out ---- */

u64 shim_read(u64 address, int bytes);
void shim_write(u64 address, u64 value, int bytes);
void shim_relax(void);

#define readl_relaxed(address) ((u32)shim_read((u64)(address), 4))
#define readq_relaxed(address) shim_read((u64)(address), 8)
#define writel_relaxed(value, address) shim_write((u64)(address), (u32)(value), 4)
#define writeq_relaxed(value, address) shim_write((u64)(address), value, 8)
#define ioremap(address, bytes) ((void *)(address))
#define iounmap(address) do { (void)(address); } while (0)
#define cpu_relax() shim_relax()
#define udelay(microseconds) shim_relax()
#define dsb(what) do {} while (0)
#define isb() do {} while (0)

/* Read until the condition holds, at least once after the last wait. */
#define shim_poll(read, address, value, condition, pause, timeout) ({ \
	long _left = (timeout); \
	int _result = 0; \
	while ((value) = read(address), !(condition)) { \
		if (_left-- <= 0) { \
			_result = -ETIMEDOUT; \
			break; \
		} \
		udelay(pause); \
	} \
	_result; \
})
#define readq_relaxed_poll_timeout_atomic(address, ...) shim_poll(readq_relaxed, address, __VA_ARGS__)
#define readl_relaxed_poll_timeout_atomic(address, ...) shim_poll(readl_relaxed, address, __VA_ARGS__)

/* Accessors of asm/arch_gicv3.h: all are plain on arm64. */
#define gic_read_typer readq_relaxed
#define gic_write_lpir writeq_relaxed
#define gic_flush_dcache_to_poc(address, bytes) do { (void)(address); } while (0)
#define gits_read_baser readq_relaxed
#define gits_write_baser writeq_relaxed
#define gits_read_cbaser readq_relaxed
#define gits_write_cbaser writeq_relaxed
#define gits_write_cwriter writeq_relaxed
#define gicr_read_propbaser readq_relaxed
#define gicr_write_propbaser writeq_relaxed
#define gicr_read_pendbaser readq_relaxed
#define gicr_write_pendbaser writeq_relaxed
#define gicr_read_vpropbaser readq_relaxed
#define gicr_write_vpropbaser writeq_relaxed
#define gicr_read_vpendbaser readq_relaxed
#define gicr_write_vpendbaser writeq_relaxed

/* ID_AA64PFR0_EL1.GIC is 3: the CPU interfaces have vSGIs. */
#define SYS_ID_AA64PFR0_EL1 0
#define ID_AA64PFR0_EL1_GIC_SHIFT 24
#define ID_AA64PFR0_EL1_GIC_V4P1 3
#define read_sanitised_ftr_reg(name) (3UL << ID_AA64PFR0_EL1_GIC_SHIFT)
#define cpuid_feature_extract_unsigned_field(value, shift) ((value) >> (shift) & 0xf)

/* ---- firmware: a device tree with ITSs below a root ---- */

struct fwnode_handle { bool of_tree; };
struct device_node { struct fwnode_handle fwnode; int number; };
struct of_device_id { const char *compatible; };
struct resource { u64 start, end; unsigned long flags; const char *name; };
struct device { int nothing; };

struct device_node *of_find_matching_node(struct device_node *after, const struct of_device_id *which);
int of_address_to_resource(struct device_node *node, int index, struct resource *resource);

#define is_of_node(handle) ((handle) && (handle)->of_tree)
#define to_of_node(handle) (is_of_node(handle) ? container_of(handle, struct device_node, fwnode) : NULL)
#define is_fwnode_irqchip(handle) ((handle) && !(handle)->of_tree)
#define of_device_is_available(node) true
#define of_property_read_bool(node, name) (!strcmp(name, "msi-controller"))
#define of_node_to_nid(node) NUMA_NO_NODE
#define of_get_cpu_node(cpu, thread) ((struct device_node *)NULL)
#define of_machine_is_compatible(name) false
#define of_machine_compatible_match(names) false
#define of_device_is_compatible(node, name) false
#define fwnode_property_read_u32_array(handle, name, values, count) (-EINVAL)
#define fwnode_property_read_u32(handle, name, value) (-EINVAL)

/* ---- interrupts: gic_irqs.h ---- */

enum irq_domain_bus_token { DOMAIN_BUS_ANY, DOMAIN_BUS_NEXUS, DOMAIN_BUS_WIRED };
struct msi_desc;
struct msi_msg { u32 address_lo, address_hi, data; };

struct irq_chip {
	const char *name;
	unsigned long flags;
	void (*irq_mask)(struct irq_data *data);
	void (*irq_unmask)(struct irq_data *data);
	void (*irq_eoi)(struct irq_data *data);
	int (*irq_set_affinity)(struct irq_data *data, const struct cpumask *mask, bool force);
	void (*irq_compose_msi_msg)(struct irq_data *data, struct msi_msg *message);
	int (*irq_set_irqchip_state)(struct irq_data *data, enum irqchip_irq_state which, bool state);
	int (*irq_get_irqchip_state)(struct irq_data *data, enum irqchip_irq_state which, bool *state);
	int (*irq_retrigger)(struct irq_data *data);
	int (*irq_set_vcpu_affinity)(struct irq_data *data, void *info);
};

/* What all the levels of an interrupt share. */
struct irq_common_data {
	bool forwarded, disabled, masked, started, activated;
	unsigned long status;
	struct cpumask effective;
};

struct irq_data {
	unsigned int irq;
	irq_hw_number_t hwirq;
	struct irq_common_data *common;
	struct irq_chip *chip;
	struct irq_domain *domain;
	struct irq_data *parent_data;
	void *chip_data;
};

struct irq_desc { struct irq_common_data common; struct irq_data irq_data; unsigned int depth; bool used; };
struct irq_fwspec { struct fwnode_handle *fwnode; int param_count; u32 param[16]; };

struct irq_domain_ops {
	int (*select)(struct irq_domain *domain, struct irq_fwspec *spec, enum irq_domain_bus_token token);
	int (*alloc)(struct irq_domain *domain, unsigned int irq, unsigned int count, void *argument);
	void (*free)(struct irq_domain *domain, unsigned int irq, unsigned int count);
	int (*activate)(struct irq_domain *domain, struct irq_data *data, bool reserve);
	void (*deactivate)(struct irq_domain *domain, struct irq_data *data);
};

struct msi_parent_ops { int nothing; };
struct irq_domain {
	const struct irq_domain_ops *ops;
	void *host_data;
	unsigned int flags;
	struct fwnode_handle *fwnode;
	struct irq_domain *parent;
	const struct msi_parent_ops *msi_parent_ops;
};
struct irq_domain_info {
	struct fwnode_handle *fwnode;
	unsigned int domain_flags;
	const struct irq_domain_ops *ops;
	void *host_data;
	struct irq_domain *parent;
};

#define IRQ_DOMAIN_FLAG_ISOLATED_MSI 1
#define IRQ_DOMAIN_FLAG_MSI_REMAP 1
#define IRQ_DOMAIN_FLAG_MSI_PARENT 2
#define IRQ_DOMAIN_FLAG_MSI_IMMUTABLE 4
#define IRQ_TYPE_EDGE_RISING 1
#define GIC_IRQ_TYPE_LPI 0xa110c8ed
#define IRQ_SET_MASK_OK 0
#define IRQ_SET_MASK_OK_DONE 2

struct irq_data *irq_get_irq_data(unsigned int irq);
struct irq_data *irq_domain_get_irq_data(struct irq_domain *domain, unsigned int irq);
int irq_domain_set_hwirq_and_chip(struct irq_domain *domain, unsigned int irq, irq_hw_number_t number,
				  struct irq_chip *chip, void *data);
void irq_domain_reset_irq_data(struct irq_data *data);
int irq_domain_alloc_irqs_parent(struct irq_domain *domain, unsigned int irq, unsigned int count, void *argument);
void irq_domain_free_irqs_parent(struct irq_domain *domain, unsigned int irq, unsigned int count);
struct irq_domain *irq_domain_create_hierarchy(struct irq_domain *parent, unsigned int flags, unsigned int size,
					       struct fwnode_handle *handle, const struct irq_domain_ops *ops, void *data);
struct irq_domain *msi_create_parent_irq_domain(struct irq_domain_info *info, const struct msi_parent_ops *ops);
int irq_domain_alloc_irqs(struct irq_domain *domain, unsigned int count, int node, void *argument);
void irq_domain_free_irqs(unsigned int irq, unsigned int count);
int irq_set_affinity(unsigned int irq, const struct cpumask *mask);
int irq_set_vcpu_affinity(unsigned int irq, void *info);
void irq_set_status_flags(unsigned int irq, unsigned long flags);
void irq_clear_status_flags(unsigned int irq, unsigned long flags);

#define irq_domain_create_linear(handle, size, ops, data) irq_domain_create_hierarchy(NULL, 0, size, handle, ops, data)
#define irq_domain_create_tree(handle, ops, data) irq_domain_create_hierarchy(NULL, 0, 0, handle, ops, data)
#define __irq_domain_alloc_irqs(domain, first, count, node, argument, realloc, affinity) \
	irq_domain_alloc_irqs(domain, count, node, argument)
#define irq_domain_remove(domain) free(domain)
#define irq_domain_alloc_named_id_fwnode(name, id) ((struct fwnode_handle *)calloc(1, sizeof(struct fwnode_handle)))
#define irq_domain_alloc_fwnode(address) irq_domain_alloc_named_id_fwnode("", 0)
#define irq_domain_free_fwnode(handle) free(handle)
#define irq_domain_get_of_node(domain) to_of_node((domain)->fwnode)
#define irq_domain_update_bus_token(domain, token) do { (void)(domain); } while (0)
#define irq_data_get_irq_chip_data(data) ((data)->chip_data)
#define irq_data_get_msi_desc(data) ((struct msi_desc *)NULL)
#define irq_data_update_effective_affinity(data, mask) ((data)->common->effective = *(mask))
static inline void irq_chip_eoi_parent(struct irq_data *data) {}
#define irqd_is_forwarded_to_vcpu(data) ((data)->common->forwarded)
#define irqd_set_forwarded_to_vcpu(data) ((data)->common->forwarded = true)
#define irqd_clr_forwarded_to_vcpu(data) ((data)->common->forwarded = false)
#define irqd_irq_disabled(data) ((data)->common->disabled)
#define irqd_affinity_is_managed(data) false
#define irqd_set_single_target(data) do { (void)(data); } while (0)
#define irqd_set_affinity_on_activate(data) do { (void)(data); } while (0)
#define irqd_set_resend_when_in_progress(data) do { (void)(data); } while (0)
#define irq_chip_retrigger_hierarchy NULL

typedef struct {
	unsigned long flags;
	union { unsigned long ul; void *ptr; } scratchpad[2];
	struct msi_desc *desc;
} msi_alloc_info_t;

#define MSI_ALLOC_FLAGS_PROXY_DEVICE 1
struct msi_domain_ops {
	int (*msi_prepare)(struct irq_domain *domain, struct device *device, int vectors, msi_alloc_info_t *info);
	void (*msi_teardown)(struct irq_domain *domain, msi_alloc_info_t *info);
};
struct msi_domain_info { struct msi_domain_ops *ops; void *data; };
#define msi_get_domain_info(domain) ((struct msi_domain_info *)(domain)->host_data)
int msi_lib_irq_domain_select(struct irq_domain *domain, struct irq_fwspec *spec, enum irq_domain_bus_token token);
#define msi_msg_set_addr(desc, message, address) do { (void)(message); (void)(address); } while (0)
#define iommu_dma_prepare_msi(desc, address) 0
#define iommu_dma_compose_msi_msg(desc, message) do { (void)(message); } while (0)

/* ---- identifiers ---- */

struct ida { unsigned long used[(1 << 16) / BITS_PER_LONG]; };
#define DEFINE_IDA(name) struct ida name
#define ida_free(ida, id) clear_bit(id, (ida)->used)

static inline int ida_alloc_max(struct ida *ida, unsigned int most, gfp_t flags)
{
	unsigned long id = find_first_zero_bit(ida->used, most + 1);

	if (id > most)
		return -ENOSPC;
	set_bit(id, ida->used);
	return id;
}

#define ida_simple_get(ida, first, end, flags) ida_alloc_max(ida, (end) - 1, flags)
#define ida_simple_remove(ida, id) ida_free(ida, id)

/* ---- suspend, hotplug, work ---- */

struct syscore_ops {
#ifdef SYSCORE_HAS_DATA
	int (*suspend)(void *data);
	void (*resume)(void *data);
#else
	int (*suspend)(void);
	void (*resume)(void);
#endif
};
struct syscore { const struct syscore_ops *ops; void *data; };
#define register_syscore(which) do { (void)(which); } while (0)
#define register_syscore_ops(ops) do { (void)(ops); } while (0)
struct work_struct { int nothing; };
#define DECLARE_WORK(name, function) \
	struct work_struct name; \
	static __attribute__((unused)) void (*const shim_work_##name)(struct work_struct *) = function
#define schedule_work(work) do { (void)(work); } while (0)
#define CPUHP_INVALID (-1)
#define CPUHP_AP_ONLINE_DYN 0
#define cpuhp_setup_state(state, name, up, down) ({ (void)(up); 0; })
#define cpuhp_remove_state_nocalls(state) do {} while (0)
#endif
