// SPDX-License-Identifier: Apache-2.0
/*
 * Linux' own GICv3/v4 ITS driver as a library: a host kernel that has nothing but RAM and a GIC, and what its irq core,
 * its hypervisor and its administrator may ask of it. The files of the kernel are included as they are; `cut.h` has what
 * is cut out of irq-gic-v3.c and irq-gic-common.c at build time.
 *
 * The kernel's variables are the library's: to boot once more is to load it anew. Results: 0 or a positive value, a
 * negative errno, SHIM_OOPS or SHIM_HANG.
 */
#include "its.h"
#include "guard.h"
#include "gic_ram.h"
#include "gic_irqs.h"

#include <linux/irqchip/arm-gic-v3.h>
#include "irq-gic-common.h"

/* ---- finding redistributors: irq-gic-v3.c ---- */

#define FLAGS_WORKAROUND_GICR_WAKER_MSM8996 1
#define gic_data_rdist() this_cpu_ptr(gic_data.rdists.rdist)
#define gic_data_rdist_rd_base() (gic_data_rdist()->rd_base)
#define gic_cpu_to_affinity cpu_logical_map
#ifndef GICR_TYPER_NR_PPIS
#define GICR_TYPER_NR_PPIS(typer) 16U
#endif

#include "cut_types.h"
static struct gic_chip_data gic_data;
static bool gicv3_nolpi;
#include "cut.h"
#undef gic_data_rdist
#undef gic_data_rdist_rd_base

const struct msi_parent_ops gic_v3_its_msi_parent_ops;

int msi_lib_irq_domain_select(struct irq_domain *domain, struct irq_fwspec *spec, enum irq_domain_bus_token token)
{
	return 1;
}

#include "irq-gic-v3-its.c"
#undef pr_fmt
#include "irq-gic-v4.c"

/* ---- warnings: the first, until it is taken ---- */

static char complaint[256];

void shim_warn(const char *function, const char *text)
{
	if (!*complaint)
		snprintf(complaint, sizeof(complaint), "%s: %s", function, text);
}

/* The first complaint since the last time, "" if there is none. */
API const char *host_complaint(void)
{
	static char taken[sizeof(complaint)];

	strcpy(taken, complaint);
	*complaint = 0;
	return taken;
}

/* ---- CPUs ---- */

unsigned int nr_cpu_ids;
int shim_cpu;
struct cpumask shim_online, shim_possible, shim_of_cpu[NR_CPUS];

#define MOST_PER_CPU 64
static struct { void *variable; u8 *copies; } per_cpu[MOST_PER_CPU];

/* CPU 0 has the variable itself, the others have copies. */
void *shim_per_cpu(void *variable, size_t bytes, int cpu)
{
	int i = 0;

	if (!cpu)
		return variable;
	while (per_cpu[i].variable && per_cpu[i].variable != variable)
		BUG_ON(++i == MOST_PER_CPU);
	if (!per_cpu[i].variable) {
		per_cpu[i].variable = variable;
		per_cpu[i].copies = calloc(NR_CPUS, ALIGN(bytes, 64));
	}
	return per_cpu[i].copies + cpu * ALIGN(bytes, 64);
}

/* ---- registers ---- */

/* Reads without a write after which nothing will come any more. */
#define MOST_READS 20000

static u64 (*read_out)(u64 address, int bytes);
static void (*write_out)(u64 address, u64 value, int bytes);
static void (*relax_out)(void);
static unsigned int reads;

u64 shim_read(u64 address, int bytes)
{
	if (reads++ > MOST_READS)
		shim_die(SHIM_HANG, "a register that is read for ever");
	return read_out(address, bytes);
}

void shim_write(u64 address, u64 value, int bytes)
{
	reads = 0;
	write_out(address, value, bytes);
}

void shim_relax(void)
{
	relax_out();
}

/* ---- firmware ---- */

#define MOST_ITSS 16
static struct device_node its_nodes_of_tree[MOST_ITSS];
static u64 its_addresses[MOST_ITSS];
static int nr_its;

struct device_node *of_find_matching_node(struct device_node *after, const struct of_device_id *which)
{
	int next = after ? after->number + 1 : 0;

	return next < nr_its ? its_nodes_of_tree + next : NULL;
}

int of_address_to_resource(struct device_node *node, int index, struct resource *resource)
{
	*resource = (struct resource){ .start = its_addresses[node->number], .end = its_addresses[node->number] + 0x1ffff };
	return 0;
}

/* ---- boot, and what happens to the whole machine ---- */

/* Before the boot: RAM at a physical address, calls for registers and for time, CPUs, the addresses of ITSs. */
API void host_begin(u8 *where, u64 address, u64 bytes, void *read, void *write, void *relax, int cpus, int its, u64 *bases)
{
	ram_begin(where, address, bytes);
	read_out = read;
	write_out = write;
	relax_out = relax;
	nr_cpu_ids = cpus;
	for (int cpu = 0; cpu < cpus; cpu++) {
		cpumask_set_cpu(cpu, &shim_possible);
		cpumask_set_cpu(cpu, &shim_of_cpu[cpu]);
	}
	for (nr_its = 0; nr_its < its; nr_its++) {
		its_nodes_of_tree[nr_its] = (struct device_node){ { .of_tree = true }, nr_its };
		its_addresses[nr_its] = bases[nr_its];
	}
}

/* gic_starting_cpu, as far as it is about LPIs. */
static int start_cpu(int cpu)
{
	shim_cpu = cpu;
	cpumask_set_cpu(cpu, &shim_online);
	if (gic_populate_rdist())
		return -ENODEV;
	gic_enable_redist(true);
	return 0;
}

/* gic_init_bases, as far as it is about LPIs. */
static int boot_first(u64 distributor, u64 redistributors)
{
	static struct redist_region region;
	int error;

	region.redist_base = ioremap(redistributors, 0);
	region.phys_base = redistributors;
	gic_data.dist_base = ioremap(distributor, SZ_64K);
	gic_data.redist_regions = &region;
	gic_data.nr_redist_regions = 1;
	gic_data.domain = &root_domain;
	gic_data.rdists.gicd_typer = readl_relaxed(gic_data.dist_base + GICD_TYPER);
	gic_data.rdists.gicd_typer2 = readl_relaxed(gic_data.dist_base + GICD_TYPER2);
	gic_data.rdists.rdist = calloc(1, sizeof(*gic_data.rdists.rdist));
	gic_data.rdists.has_rvpeid = gic_data.rdists.has_vlpis = true;
	gic_data.rdists.has_direct_lpi = gic_data.rdists.has_vpend_valid_dirty = true;
	gic_update_rdist_properties();
	error = start_cpu(0);
	if (error)
		return error;
	if (!gic_dist_supports_lpis())
		return -ENODEV;
#ifdef ITS_INIT_TAKES_PRIORITY
	error = its_init(&root_node.fwnode, &gic_data.rdists, gic_data.domain, GICD_INT_DEF_PRI);
#else
	error = its_init(&root_node.fwnode, &gic_data.rdists, gic_data.domain);
#endif
	return error ? error : its_cpu_init();
}

static int plug(int cpu)
{
	int error = start_cpu(cpu);

	return error ? error : its_cpu_init();
}

/* All CPUs; then the first one runs. */
OPERATION(host_boot, (u64 distributor, u64 redistributors), (distributor, redistributors))
{
	int error = boot_first(distributor, redistributors);

	for (int cpu = 1; !error && cpu < nr_cpu_ids; cpu++)
		error = plug(cpu);
	shim_cpu = 0;
	return error;
}

/* A CPU comes up once more. */
API long host_plug(int cpu)
{
	return guarded(plug(cpu));
}

/*
 * A CPU goes down, and another runs. irq_migrate_all_off_this_cpu: each interrupt goes to one of the CPUs that are left.
 */
OPERATION(host_unplug, (int cpu, int other), (cpu, other))
{
	shim_cpu = other;
	clear_bit(cpu, shim_online.bits);
	for (unsigned int irq = 1; irq < irqs_end; irq++) {
		struct irq_desc *desc = irqs + irq;

		if (!desc->used || !desc->common.started || !cpumask_test_cpu(cpu, &desc->common.effective))
			continue;
		if (desc->irq_data.chip->irq_set_affinity && !irqd_is_forwarded_to_vcpu(&desc->irq_data))
			irq_set_affinity(irq, cpu_online_mask);
	}
	return 0;
}

/* To sleep, and awake again, with the power of the GIC on. */
OPERATION(host_suspend, (void), ())
{
#ifdef SYSCORE_HAS_DATA
	int error = its_save_disable(NULL);

	if (!error)
		its_restore_enable(NULL);
#else
	int error = its_save_disable();

	if (!error)
		its_restore_enable();
#endif
	return error;
}

/* Is all that is free still as it was? A complaint says no. */
API void host_check_memory(void)
{
	ram_check();
}

/* ---- devices and their interrupts ---- */

static struct its_node *its_at(u64 base)
{
	struct its_node *its;

	list_for_each_entry(its, &its_nodes, entry)
		if (its->phys_base == base)
			return its;
	return NULL;
}

/* its_init_domain's domain of an ITS: the driver gives it to the MSI core. */
static struct irq_domain *domain_of(struct its_node *its)
{
	static struct { struct its_node *its; struct irq_domain *domain; } known[MOST_ITSS];
	struct msi_domain_info *info;
	int i = 0;

	while (known[i].its && known[i].its != its)
		i++;
	if (!known[i].its) {
		info = calloc(1, sizeof(*info));
		info->ops = &its_msi_domain_ops;
		info->data = its;
		known[i].its = its;
		known[i].domain = irq_domain_create_hierarchy(its_parent, 0, 0, its->fwnode_handle, &its_domain_ops, info);
	}
	return known[i].domain;
}

/* A PCI device with MSI-X: the interrupts of its vectors, and their INTIDs. */
OPERATION(host_add_device, (u64 base, u32 device_id, int vectors, int *found, u32 *intids),
	  (base, device_id, vectors, found, intids))
{
	struct irq_domain *domain = domain_of(its_at(base));
	msi_alloc_info_t info = { .scratchpad[0].ul = device_id };
	int error = its_msi_domain_ops.msi_prepare(domain, NULL, vectors, &info);

	for (int i = 0; !error && i < vectors; i++) {
		found[i] = irq_domain_alloc_irqs(domain, 1, NUMA_NO_NODE, &info);
		error = min(found[i], 0);
		intids[i] = error ? 0 : irqs[found[i]].irq_data.hwirq;
	}
	return error;
}

OPERATION(host_remove_device, (const int *which, int vectors), (which, vectors))
{
	msi_alloc_info_t info = { .scratchpad[0].ptr = irq_get_irq_data(which[0])->chip_data };
	struct irq_domain *domain = irqs[which[0]].irq_data.domain;

	for (int i = 0; i < vectors; i++)
		irq_domain_free_irqs(which[i], 1);
#ifdef HAS_MSI_TEARDOWN
	its_msi_domain_ops.msi_teardown(domain, &info);
#endif
	return 0;
}

/* The CPU to whose collection an event is mapped. */
API long host_cpu_of(int irq)
{
	struct irq_data *data = irq_get_irq_data(irq);
	struct its_device *device = irq_data_get_irq_chip_data(data);

	return device->event_map.col_map[its_get_event_id(data)];
}

/* The CPU that it goes to. */
OPERATION(host_request, (int irq), (irq))
{
	int error = request(irq);

	return error ? error : host_cpu_of(irq);
}

API long host_free(int irq)
{
	return guarded((release(irq), 0));
}

API long host_mask(int irq, bool masked)
{
	return guarded((masked ? mask_irq(irqs + irq) : unmask_irq(irqs + irq), 0));
}

/* The CPU that it goes to now. */
OPERATION(host_affinity, (int irq, int cpu), (irq, cpu))
{
	int error = irq_set_affinity(irq, cpumask_of(cpu));

	return error ? error : host_cpu_of(irq);
}

/* INT and CLEAR. */
API long host_set_pending(int irq, bool pending)
{
	return guarded(irq_set_irqchip_state(irq, IRQCHIP_STATE_PENDING, pending));
}

/* ---- virtual machines: what KVM asks for ---- */

#define DOORBELL_FLAGS (IRQ_NOAUTOEN | IRQ_DISABLE_UNLAZY | IRQ_NO_BALANCING)

/* A vPE, and the CPU that it has been loaded on. */
struct vcpu { struct its_vpe vpe; int cpu; };

/* vgic_v4_init: a VM with vPEs, all mapped unless that is put off. GICv4.1's doorbells are always on. */
OPERATION(host_begin_vm, (int vpes, struct its_vm **made, struct its_vpe **found, u32 *doorbells),
	  (vpes, made, found, doorbells))
{
	struct its_vm *vm = *made = calloc(1, sizeof(*vm));
	int error;

	vm->nr_vpes = vpes;
	vm->vpes = calloc(vpes, sizeof(*vm->vpes));
	for (int i = 0; i < vpes; i++)
		found[i] = vm->vpes[i] = calloc(1, sizeof(struct vcpu));
	error = its_alloc_vcpu_irqs(vm);
	for (int i = 0; !error && i < vpes; i++) {
		int irq = found[i]->irq;

		doorbells[i] = found[i]->vpe_db_lpi;
		irq_set_status_flags(irq, gic_rdists->has_rvpeid ? DOORBELL_FLAGS & ~IRQ_NOAUTOEN : DOORBELL_FLAGS);
		error = request(irq);
	}
	return error;
}

API long host_vpt(struct its_vpe *vpe)
{
	return page_to_phys(vpe->vpt_page);
}

/* vgic_v4_teardown. */
OPERATION(host_end_vm, (struct its_vm *vm), (vm))
{
	for (int i = 0; i < vm->nr_vpes; i++) {
		irq_clear_status_flags(vm->vpes[i]->irq, DOORBELL_FLAGS);
		release(vm->vpes[i]->irq);
	}
	its_free_vcpu_irqs(vm);
	return 0;
}

/* unmap_all_vpes of a save: flags stay. */
OPERATION(host_unmap_vpes, (struct its_vm *vm), (vm))
{
	for (int i = 0; i < vm->nr_vpes; i++)
		release(vm->vpes[i]->irq);
	return 0;
}

/* map_all_vpes of a save. */
OPERATION(host_map_vpes, (struct its_vm *vm), (vm))
{
	int error = 0;

	for (int i = 0; !error && i < vm->nr_vpes; i++)
		error = request(vm->vpes[i]->irq);
	return error;
}

/* vgic_v4_load on a CPU, which runs from here on. */
OPERATION(host_load, (struct its_vpe *vpe, int cpu, bool group0), (vpe, cpu, group0))
{
	int error;

	shim_cpu = container_of(vpe, struct vcpu, vpe)->cpu = cpu;
	error = irq_set_affinity(vpe->irq, cpumask_of(cpu));
	if (!error)
		error = its_make_vpe_resident(vpe, group0, true);
	if (!error && !gic_rdists->has_rvpeid)
		error = irq_set_irqchip_state(vpe->irq, IRQCHIP_STATE_PENDING, false);
	return error ? error : its_commit_vpe(vpe);
}

/* Is anything pending? */
OPERATION(host_put, (struct its_vpe *vpe, bool doorbell), (vpe, doorbell))
{
	int error;

	shim_cpu = container_of(vpe, struct vcpu, vpe)->cpu;
	error = its_make_vpe_non_resident(vpe, doorbell);
	return error ? error : vpe->pending_last;
}

/* vgic_v4_doorbell_handler: of GICv4.0 once is enough. */
OPERATION(host_take_doorbell, (struct its_vpe *vpe), (vpe))
{
	if (!gic_rdists->has_rvpeid)
		disable_irq_nosync(vpe->irq);
	vpe->pending_last = true;
	return 0;
}

API long host_invall(struct its_vpe *vpe)
{
	return guarded(its_invall_vpe(vpe));
}

OPERATION(host_forward, (int irq, struct its_vpe *vpe, u32 vintid, u8 properties), (irq, vpe, vintid, properties))
{
	struct its_vlpi_map map = {
		.vm = vpe->its_vm, .vpe = vpe, .vintid = vintid, .properties = properties, .db_enabled = true,
	};

	return its_map_vlpi(irq, &map);
}

API long host_unforward(int irq)
{
	return guarded((its_unmap_vlpi(irq), 0));
}

API long host_configure(int irq, u8 properties, bool inv)
{
	return guarded(its_prop_update_vlpi(irq, properties, inv));
}

/* ---- vSGIs ---- */

static int irq_of(struct its_vpe *vpe, int sgi)
{
	return irq_find_mapping(vpe->sgi_domain, sgi);
}

/* vgic_v4_enable_vsgis. */
OPERATION(host_begin_vsgi, (struct its_vpe *vpe, int sgi, bool enabled, bool group, u8 priority),
	  (vpe, sgi, enabled, group, priority))
{
	vpe->sgi_config[sgi].enabled = enabled;
	vpe->sgi_config[sgi].group = group;
	vpe->sgi_config[sgi].priority = priority;
	return irq_domain_activate_irq(irq_get_irq_data(irq_of(vpe, sgi)), false);
}

/* vgic_v4_disable_vsgis. */
API long host_end_vsgi(struct its_vpe *vpe, int sgi)
{
	return guarded((irq_domain_deactivate_irq(irq_get_irq_data(irq_of(vpe, sgi))), 0));
}

API long host_set_vsgi(struct its_vpe *vpe, int sgi, bool group, u8 priority)
{
	return guarded(its_prop_update_vsgi(irq_of(vpe, sgi), priority, group));
}

/* What enable_irq and disable_irq come to, which count. */
API long host_enable_vsgi(struct its_vpe *vpe, int sgi, bool enabled)
{
	struct irq_data *data = irq_get_irq_data(irq_of(vpe, sgi));

	return guarded(((enabled ? data->chip->irq_unmask : data->chip->irq_mask)(data), 0));
}

/* GITS_SGIR and VSGI. */
API long host_set_vsgi_pending(struct its_vpe *vpe, int sgi, bool pending)
{
	return guarded(irq_set_irqchip_state(irq_of(vpe, sgi), IRQCHIP_STATE_PENDING, pending));
}

OPERATION(host_vsgi_pending, (struct its_vpe *vpe, int sgi), (vpe, sgi))
{
	bool pending = false;
	int error = irq_get_irqchip_state(irq_of(vpe, sgi), IRQCHIP_STATE_PENDING, &pending);

	return error ? error : pending;
}
