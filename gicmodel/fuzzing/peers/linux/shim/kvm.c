// SPDX-License-Identifier: Apache-2.0
/*
 * Linux' own vgic as a library: a VM that has nothing but RAM and a virtual GICv3 with ITSs, and what its guest and
 * userspace may do to that. The files of the kernel are included as they are; `cut.h` has the functions that are cut
 * out of other files at build time.
 *
 * Results: 0 or a positive value, a negative errno, SHIM_OOPS or SHIM_STORM.
 */
#include "kvm.h"
#include "list_sort.c"
#include "vgic.c"
#include "vgic-mmio.c"
#include "vgic-mmio-v3.c"
#include "vgic-its.c"
#include "vgic-v4.c"
#include "kvm_host.h"
#include "guard.h"

#define vgic_v3_check_base(kvm) true
#include "cut.h"

#define DIST_BASE 0x08000000
#define FIRST_ITS 0x08080000
#define FIRST_RD 0x090a0000

static int warnings;
bool shim_cpuif_has_vsgi;
struct vgic_irq *shim_last_lr_irq;
struct vgic_global kvm_vgic_global_state;

void shim_warn(const char *function, const char *text)
{
	warnings++;
}

/* How many warnings the kernel has given since it was asked last. */
API long vm_take_warnings(void)
{
	long taken = warnings;

	warnings = 0;
	return taken;
}

/* ---- what other files of KVM do ---- */

struct kvm_io_device *kvm_io_bus_get_dev(struct kvm *kvm, int bus, gpa_t address)
{
	for (int i = 0; i < kvm->nr_its; i++) {
		struct vgic_its *its = kvm->its[i]->private;

		if (address - its->vgic_its_base < KVM_VGIC_V3_ITS_SIZE)
			return &its->iodev.dev;
	}
	return NULL;
}

int kvm_io_bus_register_dev(struct kvm *kvm, int bus, gpa_t address, int bytes, struct kvm_io_device *device)
{
	return 0;
}

int kvm_io_bus_unregister_dev(struct kvm *kvm, int bus, struct kvm_io_device *device)
{
	return 0;
}

struct kvm_vcpu *kvm_mpidr_to_vcpu(struct kvm *kvm, unsigned long mpidr)
{
	return kvm_get_vcpu(kvm, (mpidr & 0xf) | (mpidr >> 8 & 0xff) << 4);
}

int vgic_its_debug_init(struct kvm_device *device)
{
	return 0;
}

void vgic_its_debug_destroy(struct kvm_device *device)
{
}

/* The guest takes interrupts of every priority, of Group 1. */
void vgic_v3_get_vmcr(struct kvm_vcpu *vcpu, struct vgic_vmcr *vmcr)
{
	*vmcr = (struct vgic_vmcr){ .pmr = 0xff, .grpen1 = 1 };
}

int vgic_check_iorange(struct kvm *kvm, phys_addr_t old, phys_addr_t address, phys_addr_t alignment, phys_addr_t bytes)
{
	return 0;
}

/* kvm_vgic_vcpu_init and its helpers, for a GICv3. */
static struct kvm_vcpu *new_vcpu(struct kvm *kvm, int number)
{
	struct kvm_vcpu *vcpu = calloc(1, sizeof(*vcpu));
	struct vgic_cpu *cpu = &vcpu->arch.vgic_cpu;

	vcpu->kvm = kvm;
	vcpu->vcpu_id = vcpu->vcpu_idx = number;
	INIT_LIST_HEAD(&cpu->ap_list_head);
#ifdef PRIVATE_IRQS_ARE_ALLOCATED
	cpu->private_irqs = calloc(VGIC_NR_PRIVATE_IRQS, sizeof(*cpu->private_irqs));
#endif
	for (int i = 0; i < VGIC_NR_PRIVATE_IRQS; i++) {
		struct vgic_irq *irq = cpu->private_irqs + i;

		irq->intid = i;
		irq->group = 1;
		irq->enabled = i < VGIC_NR_SGIS;
		irq->config = i < VGIC_NR_SGIS ? VGIC_CONFIG_EDGE : VGIC_CONFIG_LEVEL;
		irq->target_vcpu = vcpu;
		irq->mpidr = kvm_vcpu_get_mpidr_aff(vcpu);
		INIT_LIST_HEAD(&irq->ap_list);
	}
	cpu->rd_iodev = (struct vgic_io_device){
		.base_addr = FIRST_RD + KVM_VGIC_V3_REDIST_SIZE * number,
		.iodev_type = IODEV_REDIST,
		.regions = vgic_v3_rd_registers,
		.nr_regions = ARRAY_SIZE(vgic_v3_rd_registers),
		.redist_vcpu = vcpu,
	};
	kvm_iodevice_init(&cpu->rd_iodev.dev, &kvm_io_gic_ops);
	/* kvm_vgic_vcpu_reset, vgic_v3_enable */
	cpu->pendbaser = GIC_BASER_CACHEABILITY(GICR_PENDBASER, INNER, RaWb) |
		GIC_BASER_CACHEABILITY(GICR_PENDBASER, OUTER, SameAsInner) |
		GIC_BASER_SHAREABILITY(GICR_PENDBASER, InnerShareable);
	return vcpu;
}

/* One region with all redistributors: GICR_TYPER.Last. */
static void place_redistributors(struct kvm *kvm, int nr_vcpus)
{
	struct vgic_redist_region *region = calloc(1, sizeof(*region));

	region->base = FIRST_RD;
	region->count = region->free_index = nr_vcpus;
	list_add_tail(&region->list, &kvm->arch.vgic.rd_regions);
	for (int i = 0; i < nr_vcpus; i++) {
		kvm->vcpus[i]->arch.vgic_cpu.rdreg = region;
		kvm->vcpus[i]->arch.vgic_cpu.rdreg_index = i;
	}
}

static struct kvm_device *new_its(struct kvm *kvm, int number)
{
	struct kvm_device *device = calloc(1, sizeof(*device));
	u64 address = FIRST_ITS + KVM_VGIC_V3_ITS_SIZE * number;
	struct kvm_device_attr place = {
		.group = KVM_DEV_ARM_VGIC_GRP_ADDR, .attr = KVM_VGIC_ITS_ADDR_TYPE, .addr = (u64)&address,
	};

	device->ops = &kvm_arm_vgic_its_ops;
	device->kvm = kvm;
	if (vgic_its_create(device, KVM_DEV_TYPE_ARM_VGIC_ITS))
		abort();
	list_add_tail(&device->vm_node, &kvm->devices);
	if (vgic_its_set_attr(device, &place))
		abort();
	return device;
}

/*
 * A VM with `bytes` of RAM at `base`, which the caller owns, as all of its pages' `dirty` bytes. `host`: 0 without vLPIs,
 * 1 a GICv4.0, 2 a GICv4.1 without vSGIs in its CPU interfaces, 3 with them. There is one VM at a time on a GICv4 host.
 * Its GIC is not initialised.
 */
API struct kvm *vm_create(int nr_vcpus, int nr_its, int host, u64 base, u64 bytes, u8 *ram, u8 *dirty)
{
	struct kvm *kvm = calloc(1, sizeof(*kvm));
	struct vgic_dist *dist = &kvm->arch.vgic;

	kvm->ram = ram;
	kvm->dirty = dirty;
	kvm->ram_base = base;
	kvm->ram_bytes = bytes;
	INIT_LIST_HEAD(&kvm->devices);
	kvm_vgic_global_state.type = VGIC_V3;
	kvm_vgic_global_state.has_gicv4 = host > 0;
	kvm_vgic_global_state.has_gicv4_1 = host > 1;
	shim_cpuif_has_vsgi = host > 2;
	shim_last_lr_irq = NULL;
	shim_new_host();
	dist->vgic_model = KVM_DEV_TYPE_ARM_VGIC_V3;
	dist->in_kernel = true;
	dist->implementation_rev = KVM_VGIC_IMP_REV_LATEST;
	dist->vgic_dist_base = DIST_BASE;
	dist->enabled = true;
#ifdef HAS_NASSGICAP
	dist->nassgicap = host > 2;
#endif
#ifdef HAS_LPI_XA
	xa_init(&dist->lpi_xa);
#else
	INIT_LIST_HEAD(&dist->lpi_list_head);
	INIT_LIST_HEAD(&dist->lpi_translation_cache);
#endif
	INIT_LIST_HEAD(&dist->rd_regions);
	dist->dist_iodev.iodev_type = IODEV_DIST;
	dist->dist_iodev.base_addr = DIST_BASE;
	vgic_v3_init_dist_iodev(&dist->dist_iodev);
	for (int i = 0; i < nr_vcpus; i++)
		kvm->vcpus[i] = new_vcpu(kvm, i);
	atomic_set(&kvm->online_vcpus, nr_vcpus);
	place_redistributors(kvm, nr_vcpus);
	for (int i = 0; i < nr_its; i++) {
		kvm->its[i] = new_its(kvm, i);
		kvm->nr_its = i + 1;
	}
	return kvm;
}

/* KVM_DEV_ARM_VGIC_CTRL_INIT (vgic_init). */
OPERATION(vm_initialise, (struct kvm *kvm), (kvm))
{
	int error = 0;

	if (vgic_initialized(kvm))
		return 0;
#ifndef HAS_LPI_XA
	vgic_lpi_translation_cache_init(kvm);
#endif
#ifdef HAS_NASSGICAP
	if (vgic_supports_direct_irqs(kvm))
#else
	if (vgic_supports_direct_msis(kvm))
#endif
		error = vgic_v4_init(kvm);
	kvm->arch.vgic.initialized = !error;
	return error;
}

OPERATION(vm_destroy, (struct kvm *kvm), (kvm))
{
	for (int i = 0; i < atomic_read(&kvm->online_vcpus); i++)
		vgic_flush_pending_lpis(kvm->vcpus[i]);
	for (int i = 0; i < kvm->nr_its; i++)
		vgic_its_destroy(kvm->its[i]);
	vgic_v4_teardown(kvm);
	/* An LPI that is left is a reference that was never dropped. */
#ifdef HAS_LPI_XA
	WARN_ON(!xa_empty(&kvm->arch.vgic.lpi_xa));
	xa_destroy(&kvm->arch.vgic.lpi_xa);
#else
	vgic_lpi_translation_cache_destroy(kvm);
	WARN_ON(!list_empty(&kvm->arch.vgic.lpi_list_head));
#endif
	free(list_first_entry(&kvm->arch.vgic.rd_regions, struct vgic_redist_region, list));
	for (int i = 0; i < atomic_read(&kvm->online_vcpus); i++) {
#ifdef PRIVATE_IRQS_ARE_ALLOCATED
		free(kvm->vcpus[i]->arch.vgic_cpu.private_irqs);
#endif
		free(kvm->vcpus[i]);
	}
	free(kvm);
	return 0;
}

/* ---- numbers for the library's user, who does not say how many may come ---- */

static s64 *words;
static long used, room;

static void put(const s64 *numbers, long count)
{
	if (used + count > room) {
		room = 2 * (used + count);
		words = realloc(words, room * sizeof(*words));
	}
	memcpy(words + used, numbers, count * sizeof(*words));
	used += count;
}

/* ---- the guest ---- */

/* An access is `bytes` wide; frame 0 is the distributor, 1 + n the redistributor of vCPU n, 256 + n ITS n. */
static struct kvm_io_device *frame_of(struct kvm *kvm, int frame, u64 *base)
{
	struct vgic_io_device *device = &kvm->arch.vgic.dist_iodev;

	if (frame >= 256) {
		struct vgic_its *its = kvm->its[frame - 256]->private;

		*base = its->vgic_its_base;
		return &its->iodev.dev;
	}
	if (frame)
		device = &kvm->vcpus[frame - 1]->arch.vgic_cpu.rd_iodev;
	*base = device->base_addr;
	return &device->dev;
}

OPERATION(vm_access, (struct kvm *kvm, int frame, u32 offset, u64 *value, bool writes, int bytes),
	  (kvm, frame, offset, value, writes, bytes))
{
	u64 base;
	struct kvm_io_device *device = frame_of(kvm, frame, &base);

	if (writes)
		kvm_io_gic_ops.write(kvm->vcpus[0], device, base + offset, bytes, value);
	else
		kvm_io_gic_ops.read(kvm->vcpus[0], device, base + offset, bytes, value);
	return 0;
}

/* A command of the queue, by itself: 0, a negative errno, or one of Linux' E_ITS_*, which nobody sees. */
API long vm_command(struct kvm *kvm, int its, u64 *words)
{
	return guarded(vgic_its_handle_command(kvm, kvm->its[its]->private, words));
}

/* ICC_SGI1R_EL1 for one target, of the first 16 vCPUs. */
API long vm_send_sgi(struct kvm *kvm, int vcpu, int sgi)
{
	u64 value = (u64)sgi << ICC_SGI1R_SGI_ID_SHIFT | 1ULL << vcpu;

	return guarded((vgic_v3_dispatch_sgi(kvm->vcpus[0], value, true), 0));
}

/* ---- userspace ---- */

static struct kvm_kernel_irq_routing_entry route(struct kvm *kvm, int its, u32 device, u32 event)
{
	u64 doorbell = ((struct vgic_its *)kvm->its[its]->private)->vgic_its_base + GITS_TRANSLATER;

	return (struct kvm_kernel_irq_routing_entry){ .type = KVM_IRQ_ROUTING_MSI, .msi = {
		.address_lo = doorbell, .address_hi = doorbell >> 32, .data = event, .flags = KVM_MSI_VALID_DEVID, .devid = device,
	} };
}

/* KVM_SIGNAL_MSI. */
API long vm_msi(struct kvm *kvm, int its, u32 device, u32 event)
{
	struct kvm_msi msi = route(kvm, its, device, event).msi;

	return guarded(vgic_its_inject_msi(kvm, &msi));
}

/* KVM_SET_DEVICE_ATTR of an ITS' KVM_DEV_ARM_VGIC_GRP_CTRL. */
API long vm_its_control(struct kvm *kvm, u64 attribute, int its)
{
	struct kvm_device_attr attr = { .group = KVM_DEV_ARM_VGIC_GRP_CTRL, .attr = attribute };

	return guarded(vgic_its_set_attr(kvm->its[its], &attr));
}

/* KVM_SET_DEVICE_ATTR and KVM_GET_DEVICE_ATTR of a register of a frame: of an ITS' 64 bits, of another's 32. */
OPERATION(vm_user_access, (struct kvm *kvm, int frame, u64 offset, u64 *value, bool writes),
	  (kvm, frame, offset, value, writes))
{
	struct kvm_device_attr attr = { .group = KVM_DEV_ARM_VGIC_GRP_DIST_REGS, .attr = offset, .addr = (u64)value };
	struct kvm_device device = { .kvm = kvm };

	if (frame >= 256) {
		attr.group = KVM_DEV_ARM_VGIC_GRP_ITS_REGS;
		return (writes ? vgic_its_set_attr : vgic_its_get_attr)(kvm->its[frame - 256], &attr);
	}
	if (frame) {
		attr.group = KVM_DEV_ARM_VGIC_GRP_REDIST_REGS;
		attr.attr |= kvm_vcpu_get_mpidr_aff(kvm->vcpus[frame - 1]) << KVM_DEV_ARM_VGIC_V3_MPIDR_SHIFT;
	}
	return vgic_v3_attr_regs_access(&device, &attr, writes);
}

/* KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES. */
API long vm_save_pending_tables(struct kvm *kvm)
{
	if (kvm->running)
		return -EBUSY;
	return guarded(vgic_v3_save_pending_tables(kvm));
}

/* ---- vCPUs ---- */

/* Software's part of an exit of the guest. */
API long vm_sync(struct kvm *kvm, int vcpu)
{
	return guarded((vgic_prune_ap_list(kvm->vcpus[vcpu]), 0));
}

/* Every vCPU has been out of its guest, and the guest of one takes all that it is given. Returns how many INTIDs. */
OPERATION(vm_take, (struct kvm *kvm, int number, s64 **intids), (kvm, number, intids))
{
	struct kvm_vcpu *vcpu = kvm->vcpus[number];
	struct vgic_irq *irq;

	used = 0;
	for (int i = 0; i < atomic_read(&kvm->online_vcpus); i++)
		vgic_prune_ap_list(kvm->vcpus[i]);
	/* What software would put into the list registers, of which there is no end. */
	list_for_each_entry(irq, &vcpu->arch.vgic_cpu.ap_list_head, ap_list) {
		if (vgic_target_oracle(irq) != vcpu)
			continue;
		put((s64[]){ irq->intid }, 1);
		irq->pending_latch = false;
	}
	vgic_prune_ap_list(vcpu);
	*intids = words;
	return used;
}

/* KVM_RUN of a vCPU that is out. */
OPERATION(vm_load, (struct kvm *kvm, int vcpu), (kvm, vcpu))
{
	int error = 0;

	/* kvm_vgic_map_resources: when the first vCPU runs. */
	if (!kvm->arch.vgic.ready)
		error = vgic_v3_map_resources(kvm);
	kvm->arch.vgic.ready = !error;
	if (!error)
		error = vgic_v4_load(kvm->vcpus[vcpu]);
	if (!error)
		vgic_v4_commit(kvm->vcpus[vcpu]);
	if (!error)
		kvm->running++;
	return error;
}

/* A vCPU that runs stops. */
OPERATION(vm_put, (struct kvm *kvm, int vcpu, bool wfi), (kvm, vcpu, wfi))
{
	kvm->running--;
	vgic_prune_ap_list(kvm->vcpus[vcpu]);
	kvm->vcpus[vcpu]->in_wfi = wfi;
	vgic_v4_put(kvm->vcpus[vcpu]);
	kvm->vcpus[vcpu]->in_wfi = false;
	return 0;
}

/* ---- forwarding ---- */

/* VFIO's bypass consumer is told that a host interrupt and a route belong together. */
API long vm_forward(struct kvm *kvm, int its, u32 device, u32 event, int irq)
{
	struct kvm_kernel_irq_routing_entry to = route(kvm, its, device, event);

	return guarded(kvm_vgic_v4_set_forwarding(kvm, irq, &to));
}

/* The end of it. Before 6.16 KVM looks where the route leads now. */
API long vm_unforward(struct kvm *kvm, int its, u32 device, u32 event, int irq)
{
#ifdef UNSETS_BY_HOST_IRQ
	return guarded((kvm_vgic_v4_unset_forwarding(kvm, irq), 0));
#else
	struct kvm_kernel_irq_routing_entry to = route(kvm, its, device, event);

	return guarded((kvm_vgic_v4_unset_forwarding(kvm, irq, &to), 0));
#endif
}

/*
 * KVM_SET_GSI_ROUTING gives an irqfd that has a host interrupt another route, its device and event (new_*). Before 6.16
 * KVM on arm64 is not told.
 */
API long vm_change_route(struct kvm *kvm, int its, u32 device, u32 event, int new_its, u32 new_device, u32 new_event,
			 int irq)
{
#ifdef UPDATES_ROUTES
	struct kvm_kernel_irq_routing_entry old = route(kvm, its, device, event);
	struct kvm_kernel_irq_routing_entry new = route(kvm, new_its, new_device, new_event);
	struct irq_bypass_producer producer = { .irq = irq };
	struct kvm_kernel_irqfd irqfd = { .kvm = kvm, .producer = &producer };

	return guarded((kvm_arch_update_irqfd_routing(&irqfd, &old, &new), 0));
#else
	return 0;
#endif
}

/* A device raises a host interrupt: whether it feeds a vLPI, which is pending now. */
API long vm_device_event(int irq)
{
	if (shim_irqs[irq].mapped)
		shim_vpt_write(&shim_irqs[irq].map, true);
	return shim_irqs[irq].mapped;
}

/* ---- state: tables of numbers, each after how many rows and columns it has ---- */

static long table;

static void begin_table(void)
{
	table = used;
	put((s64[]){ 0, 0 }, 2);
}

static void put_row(const s64 *row, long columns)
{
	put(row, columns);
	words[table]++;
	words[table + 1] = columns;
}

#define ROW(...) put_row((s64[]){ __VA_ARGS__ }, ARRAY_SIZE(((s64[]){ __VA_ARGS__ })))

static void its_tables(struct vgic_its *its)
{
	struct its_device *device;
	struct its_ite *ite;
	struct its_collection *collection;

	begin_table();
	list_for_each_entry(device, &its->device_list, dev_list)
		ROW(device->device_id, device->itt_addr, device->num_eventid_bits);
	begin_table();
	for_each_lpi_its(device, ite, its)
		ROW(device->device_id, ite->event_id, ite->irq->intid,
		    ite->collection ? (s64)ite->collection->collection_id : -1);
	begin_table();
	list_for_each_entry(collection, &its->collection_list, coll_list)
		ROW(collection->collection_id, collection->target_addr);
	begin_table();
	ROW(its->enabled, its->cbaser, its->creadr, its->cwriter, its->baser_device_table, its->baser_coll_table,
	    its->abi_rev);
}

/* INTID, references, target, priority, enabled, pending, forwarded, the vCPU on whose list it is; -1 for no vCPU. */
static void lpi_row(struct vgic_irq *irq)
{
	s64 target = irq->target_vcpu ? irq->target_vcpu->vcpu_id : -1, queued = irq->vcpu ? irq->vcpu->vcpu_id : -1;
#ifdef LPI_REFCOUNT_IS_KREF
	s64 references = kref_read(&irq->refcount);
#else
	s64 references = refcount_read(&irq->refcount);
#endif

	ROW(irq->intid, references, target, irq->priority, irq->enabled, irq->pending_latch, irq->hw, queued);
}

/* Enabled, group, priority, pending in software, in the GIC; there: enabled, pending. */
static void sgi_row(struct vgic_cpu *cpu, int vcpu, int sgi)
{
	struct vgic_irq *irq = cpu->private_irqs + sgi;
	bool enabled = irq->hw && cpu->vgic_v3.its_vpe.sgi_config[sgi].enabled;
	bool pending = irq->hw && shim_irqs[SHIM_FIRST_VSGI + VGIC_NR_SGIS * vcpu + sgi].pending;

	ROW(irq->enabled, irq->group, irq->priority, irq->pending_latch, irq->hw, enabled, pending);
}

/*
 * Of each ITS its devices, events, collections, and GITS_CTLR.Enabled, CBASER, CREADR, CWRITER, BASER0, BASER1, the
 * revision of its tables; LPIs; all vCPUs' SGIs; GICD_CTLR's bits EnableGrp1 and nASSGIreq; GICR_PROPBASER; each vCPU's
 * GICR_PENDBASER and EnableLPIs. Returns how many numbers that are.
 */
API long vm_state(struct kvm *kvm, s64 **found)
{
	struct vgic_dist *dist = &kvm->arch.vgic;
	int vcpus = atomic_read(&kvm->online_vcpus);
	struct vgic_irq *irq;

	used = 0;
	for (int i = 0; i < kvm->nr_its; i++)
		its_tables(kvm->its[i]->private);
	begin_table();
#ifdef HAS_LPI_XA
	unsigned long index;

	xa_for_each(&dist->lpi_xa, index, irq)
		lpi_row(irq);
#else
	list_for_each_entry(irq, &dist->lpi_list_head, lpi_list)
		lpi_row(irq);
#endif
	begin_table();
	for (int i = 0; i < vcpus * VGIC_NR_SGIS; i++)
		sgi_row(&kvm->vcpus[i / VGIC_NR_SGIS]->arch.vgic_cpu, i / VGIC_NR_SGIS, i % VGIC_NR_SGIS);
	begin_table();
	ROW(dist->enabled, dist->nassgireq);
	begin_table();
	ROW(dist->propbaser);
	begin_table();
	for (int i = 0; i < vcpus; i++) {
		struct vgic_cpu *cpu = &kvm->vcpus[i]->arch.vgic_cpu;
#ifdef LPIS_ENABLED_IS_ATOMIC
		ROW(cpu->pendbaser, !!atomic_read(&cpu->ctlr));
#else
		ROW(cpu->pendbaser, cpu->lpis_enabled);
#endif
	}
	*found = words;
	return used;
}

/*
 * Host interrupts that feed a vLPI, its INTID, vPE, configuration and pending state in the GIC; what KVM has asked the
 * driver for since the VM was made.
 */
API long vm_state_of_host(s64 **found)
{
	used = 0;
	begin_table();
	for (int irq = 0; irq < SHIM_DEVICE_IRQS; irq++) {
		const struct its_vlpi_map *map = &shim_irqs[irq].map;
		struct kvm_vcpu *vcpu = container_of(map->vpe, struct kvm_vcpu, arch.vgic_cpu.vgic_v3.its_vpe);

		if (shim_irqs[irq].mapped)
			ROW(irq, map->vintid, vcpu->vcpu_id, shim_bytes[map->vintid], shim_vpt_read(map));
	}
	begin_table();
	ROW(shim_asked[SHIM_MAP], shim_asked[SHIM_REMAP], shim_asked[SHIM_INT], shim_asked[SHIM_CLEAR]);
	*found = words;
	return used;
}
