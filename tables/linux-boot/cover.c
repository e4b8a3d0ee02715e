// SPDX-License-Identifier: Apache-2.0
/*
 * The cover letter of "KVM: arm64: Add VLPI migration support on GICv4.1", by Linux itself. As the first process:
 *
 *  1. bind the board's PCI function to vfio-pci, and take its vectors as eventfds;
 *  2. make VM A with a virtual ITS whose guest has mapped the vectors, and connect the eventfds to KVM's irqfd: Linux
 *     forwards them, so that they are vLPIs;
 *  3. let the function raise vectors while no vCPU runs, and save pending tables and ITS tables: the guest's RAM has
 *     them then, and what it has is printed;
 *  4. give RAM and registers to VM B, restore, forward again, and let its guest take its interrupts, each once.
 *
 * On GICv4.0 Linux refuses 3 with -EACCES, which is printed, and it ends there.
 */
#include <linux/kvm.h>
#include <linux/vfio.h>
#include "runtime.h"

#define VCPUS 2
#define VECTORS 16
#define GUEST_DEVICE 0x42
#define FIRST_LPI 8192
#define INTID(event) (FIRST_LPI + 5 * (event))
#define PCI_FUNCTION "0000:00:01.0"

/* The guest's memory, and what is where in it. */
#define RAM_BASE 0x40000000ul
#define RAM_BYTES 0x100000ul
#define QUEUE 0x00000
#define DEVICE_TABLE 0x10000
#define COLLECTION_TABLE 0x20000
#define CONFIGURATION 0x30000
#define PENDING(vcpu) (0x40000 + 0x10000 * (vcpu))
#define ITT 0x60000
#define CODE 0xf0000

/* The guest's GIC, and where there is nothing: its writes there are ours to read. */
#define GICD 0x08000000ul
#define GICR 0x080a0000ul
#define GITS 0x08080000ul
#define TRANSLATER (GITS + 0x10040)
#define MAILBOX 0x0a000000ul

#define GITS_CTLR 0x00
#define GITS_IIDR 0x04
#define GITS_CBASER 0x80
#define GITS_CWRITER 0x88
#define GITS_CREADR 0x90
#define GITS_BASER0 0x100
#define GITS_BASER1 0x108
#define GICR_CTLR 0x00
#define GICR_PROPBASER 0x70
#define GICR_PENDBASER 0x78
#define VALID (1ul << 63)
#define ENTRIES_OF_8 (7ul << 48)
#define PAGES_OF_64K (2ul << 8)

struct vm {
	long fd, vcpus[VCPUS], gic, its;
	uint8_t *ram;
};

static uint8_t ram[2][RAM_BYTES] __attribute__((aligned(0x10000)));
static int eventfds[VECTORS];
static long kvm, group, device;

static long control(long fd, unsigned long request, const void *argument)
{
	return call(__NR_ioctl, fd, request, argument, 0);
}

static long set_attribute(long fd, uint32_t group, uint64_t attribute, const void *value)
{
	struct kvm_device_attr request = { 0, group, attribute, (uint64_t)value };

	return control(fd, KVM_SET_DEVICE_ATTR, &request);
}

static uint64_t its_register(struct vm *vm, uint64_t offset)
{
	uint64_t value = 0;
	struct kvm_device_attr request = { 0, KVM_DEV_ARM_VGIC_GRP_ITS_REGS, offset, (uint64_t)&value };

	control(vm->its, KVM_GET_DEVICE_ATTR, &request);
	return value;
}

static long set_its_register(struct vm *vm, uint64_t offset, uint64_t value)
{
	return set_attribute(vm->its, KVM_DEV_ARM_VGIC_GRP_ITS_REGS, offset, &value);
}

/* 32 bits each: KVM has redistributor registers of 64 bits in two words. */
static void set_redistributor_register(struct vm *vm, uint64_t vcpu, uint64_t offset, uint32_t value)
{
	set_attribute(vm->gic, KVM_DEV_ARM_VGIC_GRP_REDIST_REGS, vcpu << 32 | offset, &value);
}

/* 1. The function, and its vectors. */

static void load_module(const char *path)
{
	long fd = open_file(path, O_RDONLY);

	if (fd < 0)
		return;	/* Built in, or of another release. */
	long error = call(__NR_finit_module, fd, "", 0, 0);

	if (error)
		report(path, error);
	call(__NR_close, fd, 0, 0, 0);
}

static long write_file(const char *path, const char *text)
{
	long fd = open_file(path, O_WRONLY);

	if (fd < 0)
		return fd;
	long written = call(__NR_write, fd, text, length(text), 0);

	call(__NR_close, fd, 0, 0, 0);
	return written < 0 ? written : 0;
}

static void take_function(void)
{
	struct vfio_iommu_type1_dma_map map = { sizeof(map), VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
						(uint64_t)ram[0], RAM_BASE, RAM_BYTES };
	uint16_t command = 1 << 2 | 1 << 1;
	int container;

	report("bound to vfio-pci", write_file("/sys/bus/pci/devices/" PCI_FUNCTION "/driver_override", "vfio-pci") ?:
					    write_file("/sys/bus/pci/drivers/vfio-pci/bind", PCI_FUNCTION));
	container = open_file("/dev/vfio/vfio", O_RDWR);
	group = open_file("/dev/vfio/0", O_RDWR);
	control(group, VFIO_GROUP_SET_CONTAINER, &container);
	report("type 1 IOMMU", control(container, VFIO_SET_IOMMU, (void *)VFIO_TYPE1v2_IOMMU));
	report("guest RAM mapped", control(container, VFIO_IOMMU_MAP_DMA, &map));
	device = control(group, VFIO_GROUP_GET_DEVICE_FD, PCI_FUNCTION);
	call(__NR_pwrite64, device, &command, sizeof(command), ((long)VFIO_PCI_CONFIG_REGION_INDEX << 40) + 4);
}

static void take_vectors(void)
{
	static struct {
		struct vfio_irq_set set;
		int fds[VECTORS];
	} irqs;

	irqs.set.argsz = sizeof(irqs);
	irqs.set.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
	irqs.set.index = VFIO_PCI_MSIX_IRQ_INDEX;
	irqs.set.count = VECTORS;
	for (int n = 0; n < VECTORS; n++)
		irqs.fds[n] = eventfds[n] = call(__NR_eventfd2, 0, 0x800 /* O_NONBLOCK */, 0, 0);
	report("vectors taken", control(device, VFIO_DEVICE_SET_IRQS, &irqs));
}

/* A write of the function's first register raises a vector (gicmodel/board/pci.py). */
static void raise_vector(uint32_t vector)
{
	call(__NR_pwrite64, device, &vector, sizeof(vector), 0);
}

static void print_eventfds(const char *when)
{
	print(when);
	for (int n = 0; n < VECTORS; n++) {
		uint64_t count;

		if (call(__NR_read, eventfds[n], &count, sizeof(count), 0) == sizeof(count)) {
			print(" ");
			print_number(n);
		}
	}
	print("\n");
}

/* 2. A VM. */

/* Take what is pending and tell its INTID, until there is nothing. */
asm(".pushsection .rodata\n"
    "guest_code:\n"
    "	mov	x1, #0x0a000000\n"
    "	mov	x0, #0xf0\n"
    "	msr	S3_0_C4_C6_0, x0	// ICC_PMR_EL1\n"
    "	mov	x0, #1\n"
    "	msr	S3_0_C12_C12_7, x0	// ICC_IGRPEN1_EL1\n"
    "	isb\n"
    "1:	mrs	x0, S3_0_C12_C12_0	// ICC_IAR1_EL1\n"
    "	str	w0, [x1]\n"
    "	msr	S3_0_C12_C12_1, x0	// ICC_EOIR1_EL1\n"
    "	b	1b\n"
    "guest_code_end:\n"
    ".popsection\n");
extern const uint8_t guest_code[], guest_code_end[];

static void make_vcpus(struct vm *vm)
{
	struct kvm_vcpu_init target = { 0 };

	control(vm->fd, KVM_ARM_PREFERRED_TARGET, &target);
	for (long n = 0; n < VCPUS; n++) {
		target.features[0] = 1 << KVM_ARM_VCPU_PSCI_0_2;
		vm->vcpus[n] = control(vm->fd, KVM_CREATE_VCPU, (void *)n);
		control(vm->vcpus[n], KVM_ARM_VCPU_INIT, &target);
	}
}

static long make_device(struct vm *vm, uint32_t type)
{
	struct kvm_create_device made = { type, 0, 0 };
	long error = control(vm->fd, KVM_CREATE_DEVICE, &made);

	return error ? error : made.fd;
}

static void make_gic(struct vm *vm)
{
	uint64_t gicd = GICD, gicr = GICR, gits = GITS;
	uint32_t interrupts = 64;

	vm->gic = make_device(vm, KVM_DEV_TYPE_ARM_VGIC_V3);
	set_attribute(vm->gic, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_DIST, &gicd);
	set_attribute(vm->gic, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_REDIST, &gicr);
	set_attribute(vm->gic, KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, &interrupts);
	vm->its = make_device(vm, KVM_DEV_TYPE_ARM_VGIC_ITS);
	set_attribute(vm->its, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_ITS_ADDR_TYPE, &gits);
	report("vgic", set_attribute(vm->gic, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, 0) ?:
			       set_attribute(vm->its, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, 0));
}

/* GSI n is event n of the guest's device. */
static long route(struct vm *vm)
{
	static struct {
		struct kvm_irq_routing table;
		struct kvm_irq_routing_entry entries[VECTORS];
	} routing;

	routing.table.nr = VECTORS;
	for (int n = 0; n < VECTORS; n++) {
		struct kvm_irq_routing_entry *entry = &routing.table.entries[n];

		entry->gsi = n;
		entry->type = KVM_IRQ_ROUTING_MSI;
		entry->flags = KVM_MSI_VALID_DEVID;
		entry->u.msi.address_lo = TRANSLATER;
		entry->u.msi.data = n;
		entry->u.msi.devid = GUEST_DEVICE;
	}
	return control(vm->fd, KVM_SET_GSI_ROUTING, &routing);
}

static void make_vm(struct vm *vm, int number)
{
	struct kvm_userspace_memory_region region = { 0, 0, RAM_BASE, RAM_BYTES, (uint64_t)ram[number] };
	int32_t group_fd = group;

	vm->ram = ram[number];
	vm->fd = control(kvm, KVM_CREATE_VM, 0);
	control(vm->fd, KVM_SET_USER_MEMORY_REGION, &region);
	make_vcpus(vm);
	make_gic(vm);
	set_attribute(make_device(vm, KVM_DEV_TYPE_VFIO), KVM_DEV_VFIO_GROUP, KVM_DEV_VFIO_GROUP_ADD, &group_fd);
	report("routes", route(vm));
}

static void enable_lpis(struct vm *vm)
{
	uint32_t ctlr = 1 << 4 | 1 << 1;	/* ARE, EnableGrp1 */

	set_attribute(vm->gic, KVM_DEV_ARM_VGIC_GRP_DIST_REGS, 0, &ctlr);
	for (int vcpu = 0; vcpu < VCPUS; vcpu++) {
		set_redistributor_register(vm, vcpu, GICR_PROPBASER, (RAM_BASE + CONFIGURATION) | 15);
		set_redistributor_register(vm, vcpu, GICR_PROPBASER + 4, 0);
		set_redistributor_register(vm, vcpu, GICR_PENDBASER, RAM_BASE + PENDING(vcpu));
		set_redistributor_register(vm, vcpu, GICR_PENDBASER + 4, 0);
		set_redistributor_register(vm, vcpu, GICR_CTLR, 1);
	}
}

static uint64_t *add_command(uint64_t *at, uint64_t first, uint64_t second, uint64_t third)
{
	at[0] = first;
	at[1] = second;
	at[2] = third;
	at[3] = 0;
	return at + 4;
}

/* What the guest's driver would do: a collection for each vCPU, the device, an LPI for each event. */
static void map_events(struct vm *vm)
{
	uint64_t *queue = (uint64_t *)(vm->ram + QUEUE), *at = queue, device_id = (uint64_t)GUEST_DEVICE << 32;

	memset(vm->ram + CONFIGURATION, 0xa1, PENDING(0) - CONFIGURATION);
	for (uint64_t n = 0; n < VCPUS; n++)
		at = add_command(at, 0x09, 0, VALID | n << 16 | n);	/* MAPC */
	at = add_command(at, device_id | 0x08, 4, VALID | (RAM_BASE + ITT));	/* MAPD */
	for (uint64_t n = 0; n < VECTORS; n++)
		at = add_command(at, device_id | 0x0a, INTID(n) << 32 | n, n % VCPUS);	/* MAPTI */
	set_its_register(vm, GITS_CBASER, VALID | RAM_BASE | 15);
	set_its_register(vm, GITS_BASER0, VALID | ENTRIES_OF_8 | (RAM_BASE + DEVICE_TABLE) | PAGES_OF_64K);
	set_its_register(vm, GITS_BASER1, VALID | ENTRIES_OF_8 | (RAM_BASE + COLLECTION_TABLE) | PAGES_OF_64K);
	set_its_register(vm, GITS_CTLR, 1);
	set_its_register(vm, GITS_CWRITER, (uint8_t *)at - (uint8_t *)queue);
	report("events mapped, GITS_CREADR", its_register(vm, GITS_CREADR));
}

static void connect_eventfds(struct vm *vm, uint32_t flags)
{
	long error = 0;

	for (int n = 0; n < VECTORS; n++) {
		struct kvm_irqfd request = { .fd = eventfds[n], .gsi = n, .flags = flags };

		error = error ?: control(vm->fd, KVM_IRQFD, &request);
	}
	report(flags ? "irqfds off" : "irqfds on", error);
}

/* Let a vCPU run until its guest says that nothing is pending. */
static void run_vcpu(struct vm *vm, int vcpu)
{
	struct kvm_run *run = (void *)call6(__NR_mmap, 0, control(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), 3, 1, vm->vcpus[vcpu], 0);
	uint64_t pc = RAM_BASE + CODE;
	struct kvm_one_reg set = { KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(regs.pc),
				   (uint64_t)&pc };
	struct kvm_mp_state runnable = { KVM_MP_STATE_RUNNABLE };
	uint32_t intid = 0;

	memcpy(vm->ram + CODE, guest_code, guest_code_end - guest_code);
	control(vm->vcpus[vcpu], KVM_SET_ONE_REG, &set);
	control(vm->vcpus[vcpu], KVM_SET_MP_STATE, &runnable);
	print("vCPU ");
	print_number(vcpu);
	print(" took");
	while (!control(vm->vcpus[vcpu], KVM_RUN, 0) && run->exit_reason == KVM_EXIT_MMIO) {
		memcpy(&intid, run->mmio.data, sizeof(intid));
		if (intid == 1023)
			break;
		print(" ");
		print_number(intid);
	}
	print(intid == 1023 ? "\n" : " ?\n");
}

static void run_vcpus(struct vm *vm)
{
	for (int vcpu = 0; vcpu < VCPUS; vcpu++)
		run_vcpu(vm, vcpu);
}

/* 3. Save. */

static void print_memory(const char *what, struct vm *vm, long from, long size)
{
	for (long at = from; at < from + size; at += 8) {
		if (!*(uint64_t *)(vm->ram + at))
			continue;
		print(what);
		print(" 0x");
		print_hex(RAM_BASE + at, 8);
		for (int n = 0; n < 8; n++) {
			print(" ");
			print_hex(vm->ram[at + n], 2);
		}
		print("\n");
	}
}

static void print_pending(struct vm *vm)
{
	for (int vcpu = 0; vcpu < VCPUS; vcpu++)
		print_memory("pending table", vm, PENDING(vcpu), 0x2000);
}

static long save(struct vm *vm)
{
	report("SAVE_PENDING_TABLES", set_attribute(vm->gic, KVM_DEV_ARM_VGIC_GRP_CTRL,
						    KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES, 0));
	return report("ITS_SAVE_TABLES", set_attribute(vm->its, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_ITS_SAVE_TABLES, 0));
}

/* 4. Restore. */

static void restore(struct vm *to, struct vm *from)
{
	static const uint64_t registers[] = { GITS_IIDR, GITS_CBASER, GITS_CREADR, GITS_CWRITER, GITS_BASER0, GITS_BASER1 };

	enable_lpis(to);
	for (size_t n = 0; n < sizeof(registers) / sizeof(*registers); n++)
		set_its_register(to, registers[n], its_register(from, registers[n]));
	report("ITS_RESTORE_TABLES",
	       set_attribute(to->its, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_ITS_RESTORE_TABLES, 0));
	set_its_register(to, GITS_CTLR, 1);
}

void _start(void)
{
	static const uint32_t raised[] = { 1, 4, 5, 7, 10, 15, 15 };
	struct vm a, b;

	mount("proc", "/proc");
	mount("sysfs", "/sys");
	mount("devtmpfs", "/dev");
	print("1. a PCI function for VFIO\n");
	load_module("/modules/vfio_virqfd.ko");
	load_module("/modules/vfio.ko");
	load_module("/modules/vfio_iommu_type1.ko");
	load_module("/modules/vfio-pci-core.ko");
	load_module("/modules/vfio-pci.ko");
	take_function();
	take_vectors();
	raise_vector(3);
	print_eventfds("eventfds of vectors:");
	print("2. VM A, its interrupts forwarded\n");
	kvm = open_file("/dev/kvm", O_RDWR);
	make_vm(&a, 0);
	enable_lpis(&a);
	map_events(&a);
	connect_eventfds(&a, 0);
	run_vcpus(&a);
	print("3. vectors raised while no vCPU runs, and saved\n");
	for (size_t n = 0; n < sizeof(raised) / sizeof(*raised); n++)
		raise_vector(raised[n]);
	print_eventfds("eventfds of vectors:");
	print_pending(&a);
	if (save(&a))
		power_off();
	print_pending(&a);
	print_memory("device table", &a, DEVICE_TABLE, 0x1000);
	print_memory("collection table", &a, COLLECTION_TABLE, 0x1000);
	print_memory("ITT", &a, ITT, 0x100);
	print("4. VM B: restored, forwarded, saved again, and run\n");
	connect_eventfds(&a, KVM_IRQFD_FLAG_DEASSIGN);
	memcpy(ram[1], ram[0], RAM_BYTES);
	make_vm(&b, 1);
	restore(&b, &a);
	print_pending(&b);
	connect_eventfds(&b, 0);
	save(&b);
	print_pending(&b);
	run_vcpus(&b);
	run_vcpus(&b);
	raise_vector(2);
	run_vcpus(&b);
	power_off();
}
