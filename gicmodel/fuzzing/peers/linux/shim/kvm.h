/* SPDX-License-Identifier: Apache-2.0 */
/* What the vgic needs of KVM: a VM with one range of RAM, vCPUs that somebody says are running, and device attributes. */
#ifndef SHIM_KVM_H
#define SHIM_KVM_H

#include "kernel.h"
#include <linux/list.h>

/* The vgic's messages tell what a guest has done wrong. */
#define pr_err(...) do {} while (0)
#define pr_warn_ratelimited(...) do {} while (0)
#define IS_ENABLED(option) 0

/* ---- memory ---- */

#define GFP_KERNEL_ACCOUNT 0
#define __GFP_ACCOUNT 0
#define kmalloc(bytes, flags) malloc(bytes)
#define kzalloc(bytes, flags) calloc(1, bytes)
#define kmalloc_array(n, bytes, flags) calloc(n, bytes)
#define kcalloc(n, bytes, flags) calloc(n, bytes)
#define kzalloc_obj(what, ...) ((typeof(what) *)calloc(1, sizeof(what)))
#define kzalloc_objs(what, n, ...) ((typeof(what) *)calloc(n, sizeof(what)))
#define kfree(pointer) free((void *)(pointer))
#define kfree_rcu(pointer, member) free(pointer)
#define copy_from_user(to, from, bytes) (memcpy(to, from, bytes), 0)
#define copy_to_user(to, from, bytes) (memcpy(to, from, bytes), 0)
#define get_user(value, pointer) ((value) = *(pointer), 0)
#define put_user(value, pointer) (*(pointer) = (value), 0)

/* ---- interrupts of the host ---- */

typedef unsigned long cpumask_t;
#define smp_processor_id() 0
#define cpumask_of(cpu) ((void *)0)

struct fwnode_handle;
struct irq_domain { int first; };
struct irq_chip;
struct device_node;
struct irq_data { struct irq_data *parent_data; unsigned long hwirq; };
struct irq_desc { struct irq_data irq_data; };
struct resource { u64 start, end; };

#define IRQ_HANDLED 1
#define irq_set_status_flags(irq, flags) do { (void)(flags); } while (0)
#define irq_clear_status_flags(irq, flags) do { (void)(irq); } while (0)

int request_irq(unsigned int irq, irq_handler_t handler, unsigned long flags, const char *name, void *device);
const void *free_irq(unsigned int irq, void *device);
bool irqd_irq_disabled(struct irq_data *data);
int irq_set_affinity(unsigned int irq, const void *mask);
struct irq_data *irq_desc_get_irq_data(struct irq_desc *desc);

/* ---- Linux' uapi: include/uapi/linux/kvm.h, arch/arm64/include/uapi/asm/kvm.h ---- */

enum kvm_device_type {
	KVM_DEV_TYPE_ARM_VGIC_V2 = 5,
	KVM_DEV_TYPE_ARM_VGIC_V3 = 7,
	KVM_DEV_TYPE_ARM_VGIC_ITS = 8,
	KVM_DEV_TYPE_ARM_VGIC_V5 = 12,
};

struct kvm_device_attr { u32 flags, group; u64 attr, addr; };
struct kvm_msi { u32 address_lo, address_hi, data, flags, devid; u8 pad[12]; };
struct kvm_arm_device_addr { u64 id, addr; };

#define KVM_MSI_VALID_DEVID 1
#define KVM_VGIC_V2_ADDR_TYPE_DIST 0
#define KVM_VGIC_V2_ADDR_TYPE_CPU 1
#define KVM_VGIC_V3_ADDR_TYPE_DIST 2
#define KVM_VGIC_V3_ADDR_TYPE_REDIST 3
#define KVM_VGIC_ITS_ADDR_TYPE 4
#define KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION 5
#define KVM_VGIC_V2_DIST_SIZE 0x1000
#define KVM_VGIC_V2_CPU_SIZE 0x2000
#define KVM_VGIC_V3_DIST_SIZE SZ_64K
#define KVM_VGIC_V3_REDIST_SIZE (2 * SZ_64K)
#define KVM_VGIC_V3_ITS_SIZE (2 * SZ_64K)
#define KVM_DEV_ARM_VGIC_GRP_ADDR 0
#define KVM_DEV_ARM_VGIC_GRP_DIST_REGS 1
#define KVM_DEV_ARM_VGIC_GRP_CPU_REGS 2
#define KVM_DEV_ARM_VGIC_GRP_NR_IRQS 3
#define KVM_DEV_ARM_VGIC_GRP_CTRL 4
#define KVM_DEV_ARM_VGIC_GRP_REDIST_REGS 5
#define KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS 6
#define KVM_DEV_ARM_VGIC_GRP_LEVEL_INFO 7
#define KVM_DEV_ARM_VGIC_GRP_ITS_REGS 8
#define KVM_DEV_ARM_VGIC_GRP_MAINT_IRQ 9
#define KVM_DEV_ARM_VGIC_CPUID_SHIFT 32
#define KVM_DEV_ARM_VGIC_CPUID_MASK (0xffULL << 32)
#define KVM_DEV_ARM_VGIC_V3_MPIDR_SHIFT 32
#define KVM_DEV_ARM_VGIC_V3_MPIDR_MASK (0xffffffffULL << 32)
#define KVM_DEV_ARM_VGIC_OFFSET_SHIFT 0
#define KVM_DEV_ARM_VGIC_OFFSET_MASK 0xffffffffULL
#define KVM_DEV_ARM_VGIC_SYSREG_INSTR_MASK 0xffff
#define KVM_DEV_ARM_VGIC_LINE_LEVEL_INFO_SHIFT 10
#define KVM_DEV_ARM_VGIC_LINE_LEVEL_INFO_MASK (0x3fffffULL << KVM_DEV_ARM_VGIC_LINE_LEVEL_INFO_SHIFT)
#define KVM_DEV_ARM_VGIC_LINE_LEVEL_INTID_MASK 0x3ff
#define VGIC_LEVEL_INFO_LINE_LEVEL 0
#define KVM_DEV_ARM_VGIC_CTRL_INIT 0
#define KVM_DEV_ARM_ITS_SAVE_TABLES 1
#define KVM_DEV_ARM_ITS_RESTORE_TABLES 2
#define KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES 3
#define KVM_DEV_ARM_ITS_CTRL_RESET 4

/* ---- what the vgic may ask of a VM ---- */

#define KVM_MMIO_BUS 0
#define KVM_REQ_IRQ_PENDING 1
#define KVM_REQ_RELOAD_GICv4 2
#define KVM_REQ_GUEST_HYP_IRQ_PENDING 3
#define KVM_REQ_VCPU_RESET 4
#define SHIM_MOST_VCPUS 64
#define SHIM_MOST_ITSS 8

struct kvm;
struct kvm_vcpu;
struct kvm_device;
struct kvm_io_device;
struct vgic_its;

struct kvm_device_ops {
	const char *name;
	int (*create)(struct kvm_device *device, u32 type);
	void (*init)(struct kvm_device *device);
	void (*destroy)(struct kvm_device *device);
	void (*release)(struct kvm_device *device);
	int (*set_attr)(struct kvm_device *device, struct kvm_device_attr *attr);
	int (*get_attr)(struct kvm_device *device, struct kvm_device_attr *attr);
	int (*has_attr)(struct kvm_device *device, struct kvm_device_attr *attr);
};

struct kvm_device {
	const struct kvm_device_ops *ops;
	struct kvm *kvm;
	void *private;
	struct list_head vm_node;
};

#define kvm_register_device_ops(ops, type) 0

/* A GICv5 is no part of this host; its names are in the vgic's types. */
struct gicv5_vpe { bool resident; };
#define GICV5_HWIRQ_ID GENMASK_ULL(23, 0)
#define GICV5_HWIRQ_TYPE GENMASK_ULL(31, 29)
#define GICV5_HWIRQ_TYPE_PPI 1
#define GICV5_HWIRQ_TYPE_LPI 2
#define GICV5_HWIRQ_TYPE_SPI 3

#include <kvm/arm_vgic.h>

struct kvm_vcpu {
	struct kvm *kvm;
	int vcpu_id, vcpu_idx;
	bool in_wfi;
	struct mutex mutex;
	struct { struct vgic_cpu vgic_cpu; } arch;
};

/* `running` counts the vCPUs in KVM_RUN; `dirty` has a byte a page. */
struct kvm {
	struct mutex lock, slots_lock;
	struct srcu_struct srcu;
	struct list_head devices;
	atomic_t online_vcpus;
	struct { struct vgic_dist vgic; struct mutex config_lock; } arch;
	struct kvm_vcpu *vcpus[SHIM_MOST_VCPUS];
	struct kvm_device *its[SHIM_MOST_ITSS];
	int nr_its, running;
	u8 *ram, *dirty;
	u64 ram_base, ram_bytes;
};

static inline struct kvm_vcpu *kvm_get_vcpu(struct kvm *kvm, int number)
{
	return number >= 0 && number < atomic_read(&kvm->online_vcpus) ? kvm->vcpus[number] : NULL;
}

#define kvm_get_vcpu_by_id kvm_get_vcpu
#define kvm_for_each_vcpu(number, vcpu, kvm) \
	for ((number) = 0; ((vcpu) = kvm_get_vcpu(kvm, number)); (number)++)
#define kvm_make_request(request, vcpu) do { (void)(vcpu); } while (0)
#define kvm_make_all_cpus_request(kvm, request) do { (void)(kvm); } while (0)
#define kvm_vcpu_kick(vcpu) do { (void)(vcpu); } while (0)
#define kvm_get_running_vcpu() ((struct kvm_vcpu *)NULL)
#define kvm_arm_halt_guest(kvm) do { (void)(kvm); } while (0)
#define kvm_arm_resume_guest(kvm) do { (void)(kvm); } while (0)
#define KVM_BUG_ON(x, kvm) WARN_ON(x)
#define kvm_err(...) do {} while (0)
#define kvm_info(...) do {} while (0)
#define kvm_debug(...) do {} while (0)

/* Until 6.15 vgic-kvm-device.c locks, and says whether it could; then KVM does, and says why not. */
#define kvm_trylock_all_vcpus(kvm) ((kvm)->running ? -EBUSY : 0)
#define kvm_unlock_all_vcpus(kvm) do { (void)(kvm); } while (0)
static inline bool lock_all_vcpus(struct kvm *kvm) { return !kvm->running; }
static inline void unlock_all_vcpus(struct kvm *kvm) {}

#define MPIDR_LEVEL_BITS 8
#define MPIDR_LEVEL_MASK 0xff
#define MPIDR_LEVEL_SHIFT(level) (MPIDR_LEVEL_BITS * (level))
#define MPIDR_AFFINITY_LEVEL(mpidr, level) ((mpidr) >> MPIDR_LEVEL_SHIFT(level) & MPIDR_LEVEL_MASK)
/* arch/arm64/kvm: 16 vCPUs to an Aff1, 4096 to an Aff2. */
#define kvm_vcpu_get_mpidr_aff(vcpu) ((unsigned long)((vcpu)->vcpu_id & 0xf) | ((vcpu)->vcpu_id >> 4 & 0xff) << 8)
struct kvm_vcpu *kvm_mpidr_to_vcpu(struct kvm *kvm, unsigned long mpidr);

/* ---- guest RAM ---- */

static inline u8 *shim_guest(struct kvm *kvm, gpa_t address, unsigned long bytes)
{
	u64 offset = address - kvm->ram_base;

	if (address < kvm->ram_base || offset >= kvm->ram_bytes || bytes > kvm->ram_bytes - offset)
		return NULL;
	return kvm->ram + offset;
}

static inline int kvm_read_guest(struct kvm *kvm, gpa_t address, void *data, unsigned long bytes)
{
	u8 *from = shim_guest(kvm, address, bytes);

	if (!from)
		return -EFAULT;
	memcpy(data, from, bytes);
	return 0;
}

static inline int kvm_write_guest(struct kvm *kvm, gpa_t address, const void *data, unsigned long bytes)
{
	u8 *to = shim_guest(kvm, address, bytes);

	if (!to)
		return -EFAULT;
	memcpy(to, data, bytes);
	kvm->dirty[(address - kvm->ram_base) >> PAGE_SHIFT] = 1;
	return 0;
}

#define kvm_read_guest_lock kvm_read_guest
#define kvm_write_guest_lock kvm_write_guest
#define kvm_is_visible_gfn(kvm, gfn) (!!shim_guest(kvm, (gfn) << PAGE_SHIFT, 1))

/* ---- MMIO ---- */

struct kvm_io_device *kvm_io_bus_get_dev(struct kvm *kvm, int bus, gpa_t address);
int kvm_io_bus_register_dev(struct kvm *kvm, int bus, gpa_t address, int bytes, struct kvm_io_device *device);
int kvm_io_bus_unregister_dev(struct kvm *kvm, int bus, struct kvm_io_device *device);

static inline unsigned long kvm_mmio_read_buf(const void *data, unsigned int bytes)
{
	unsigned long value = 0;

	memcpy(&value, data, bytes);
	return value;
}

#define kvm_mmio_write_buf(data, bytes, value) ({ unsigned long _value = (value); memcpy(data, &_value, bytes); })

struct kvm_kernel_irq_routing_entry { u32 gsi, type; struct kvm_msi msi; };

#define KVM_IRQ_ROUTING_MSI 2

struct irq_bypass_producer { int irq; };
struct kvm_kernel_irqfd { struct kvm *kvm; struct irq_bypass_producer *producer; };

#define TRACE_EVENT(...)
#define trace_vgic_update_irq_pending(...) do {} while (0)

/* ---- the host's CPU ---- */

#define IN_WFI in_wfi
#define IN_NESTED_ERET in_wfi
#define vcpu_get_flag(vcpu, flag) ((vcpu)->flag)
#define vcpu_clear_flag(vcpu, flag) ((vcpu)->flag = false)
#define has_vhe() 0
#define vcpu_has_nv(vcpu) 0
#define cpus_have_final_cap(cap) 0
#define kvm_has_feat(kvm, register, field, limit) 1
#define ARM64_HAS_ICH_HCR_EL2_TDIR 1
#define ARM64_ALWAYS_SYSTEM 0
#define ID_AA64PFR0_EL1 0
#define ID_AA64PFR2_EL1 1
#define ICH_VTR_EL2_DVIM 0
#define ICH_VTR_EL2_A3V 0
#define ICH_VTR_EL2_IDbits 0
#define ICH_VTR_EL2_nV4 0
#define __vgic_v3_save_state(cpuif) do {} while (0)
#define __vgic_v3_restore_state(cpuif) do {} while (0)
#define __vgic_v3_activate_traps(cpuif) do {} while (0)
#define __vgic_v3_deactivate_traps(cpuif) do {} while (0)

/* The LPI that the list registers of this CPU hold a reference to. */
extern struct vgic_irq *shim_last_lr_irq;
#define host_data_ptr(what) (&shim_##what)

/* Whether the CPU interfaces have vSGIs: ID_AA64PFR0_EL1.GIC. */
extern bool shim_cpuif_has_vsgi;
#define gic_cpuif_has_vsgi() (shim_cpuif_has_vsgi)
#endif
