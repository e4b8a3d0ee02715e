/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A GIC driver in C, in user space, on gicmodel: registers by physical address, RAM through pointers, interrupts.
 *
 * Build the driver as a shared object and run it with `gicmodel native`. It starts in `int driver(void)`, which returns
 * 0 if all went well. It is one thread, and drives the interface of every PE.
 */
#ifndef GICMODEL_H
#define GICMODEL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a device tree would say. All addresses are physical; a frame has 64 KiB. */
struct gic_machine {
    uint64_t distributor;
    uint64_t redistributors; /* RD_base of PE 0; the next PE's is redistributor_stride further */
    uint64_t redistributor_stride;
    uint64_t its; /* GITS_CTLR of ITS 0; the next ITS's is its_stride further */
    uint64_t its_stride;
    uint64_t ram;
    uint64_t ram_size;
    uint32_t pe_count;
    uint32_t its_count;
};

struct gic_host {
    struct gic_machine machine;
    void *ram;
    uint64_t (*read)(uint64_t address, uint32_t size);
    void (*write)(uint64_t address, uint64_t value, uint32_t size);
    void (*device_write)(uint64_t address, uint32_t value, uint32_t device_id);
    uint64_t (*read_sysreg)(uint32_t pe, uint32_t encoding, uint32_t guest);
    void (*write_sysreg)(uint32_t pe, uint32_t encoding, uint64_t value, uint32_t guest);
    uint32_t (*acknowledge)(uint32_t pe);
    uint32_t (*acknowledge_virtual)(uint32_t pe);
    void (*set_line)(uint32_t pe, uint32_t intid, uint32_t level);
    void (*wait)(void);
    void (*done)(const char *operation);
};

/* Whoever loads the driver fills this in. Weak: each C file that includes this header defines it, and they share it. */
extern struct gic_host gic_host;
__attribute__((weak, visibility("default"))) struct gic_host gic_host;

static inline const struct gic_machine *gic_machine(void) { return &gic_host.machine; }

/*
 * An access as wide as it is written, of a register or of RAM. Where there is neither it is an external abort, which
 * ends the driver. Time passes with each read of a register.
 */
static inline uint8_t gic_read8(uint64_t address) { return (uint8_t)gic_host.read(address, 1); }
static inline uint16_t gic_read16(uint64_t address) { return (uint16_t)gic_host.read(address, 2); }
static inline uint32_t gic_read32(uint64_t address) { return (uint32_t)gic_host.read(address, 4); }
static inline uint64_t gic_read64(uint64_t address) { return gic_host.read(address, 8); }
static inline void gic_write8(uint64_t address, uint8_t value) { gic_host.write(address, value, 1); }
static inline void gic_write16(uint64_t address, uint16_t value) { gic_host.write(address, value, 2); }
static inline void gic_write32(uint64_t address, uint32_t value) { gic_host.write(address, value, 4); }
static inline void gic_write64(uint64_t address, uint64_t value) { gic_host.write(address, value, 8); }

/* RAM without a copy: `size` bytes at a physical address, or NULL if RAM has not all of them; and back. */
static inline void *gic_ram(uint64_t address, uint64_t size)
{
    uint64_t offset = address - gic_host.machine.ram;
    if (size > gic_host.machine.ram_size || offset > gic_host.machine.ram_size - size)
        return NULL;
    return (uint8_t *)gic_host.ram + offset;
}

static inline uint64_t gic_address(const volatile void *pointer)
{
    return gic_host.machine.ram + (uint64_t)((const volatile uint8_t *)pointer - (const volatile uint8_t *)gic_host.ram);
}

/* Time passes: the GIC gets on with what it has been told. */
static inline void gic_wait(void) { gic_host.wait(); }

/* A device, not the driver, writes 32 bits: its interrupt, where the address is that of GITS_TRANSLATER. */
static inline void gic_device_write(uint64_t address, uint32_t value, uint32_t device_id)
{
    gic_host.device_write(address, value, device_id);
}

/* The input of a PPI of a PE, or of an SPI, goes high or low. */
static inline void gic_set_line(uint32_t pe, uint32_t intid, int level)
{
    gic_host.set_line(pe, intid, level != 0);
}

/*
 * System registers of a PE: ICC_* and ICH_*, and for a guest ICV_* at the encodings of ICC_*. Other encodings are
 * undefined, which ends the driver.
 */
#define GIC_SYSREG(op0, op1, crn, crm, op2) ((op0) << 14 | (op1) << 11 | (crn) << 7 | (crm) << 3 | (op2))
#define GIC_ICC_PMR_EL1 GIC_SYSREG(3, 0, 4, 6, 0)
#define GIC_ICC_IAR0_EL1 GIC_SYSREG(3, 0, 12, 8, 0)
#define GIC_ICC_EOIR0_EL1 GIC_SYSREG(3, 0, 12, 8, 1)
#define GIC_ICC_HPPIR0_EL1 GIC_SYSREG(3, 0, 12, 8, 2)
#define GIC_ICC_BPR0_EL1 GIC_SYSREG(3, 0, 12, 8, 3)
#define GIC_ICC_AP0R0_EL1 GIC_SYSREG(3, 0, 12, 8, 4)
#define GIC_ICC_AP1R0_EL1 GIC_SYSREG(3, 0, 12, 9, 0)
#define GIC_ICC_DIR_EL1 GIC_SYSREG(3, 0, 12, 11, 1)
#define GIC_ICC_RPR_EL1 GIC_SYSREG(3, 0, 12, 11, 3)
#define GIC_ICC_SGI1R_EL1 GIC_SYSREG(3, 0, 12, 11, 5)
#define GIC_ICC_ASGI1R_EL1 GIC_SYSREG(3, 0, 12, 11, 6)
#define GIC_ICC_SGI0R_EL1 GIC_SYSREG(3, 0, 12, 11, 7)
#define GIC_ICC_IAR1_EL1 GIC_SYSREG(3, 0, 12, 12, 0)
#define GIC_ICC_EOIR1_EL1 GIC_SYSREG(3, 0, 12, 12, 1)
#define GIC_ICC_HPPIR1_EL1 GIC_SYSREG(3, 0, 12, 12, 2)
#define GIC_ICC_BPR1_EL1 GIC_SYSREG(3, 0, 12, 12, 3)
#define GIC_ICC_CTLR_EL1 GIC_SYSREG(3, 0, 12, 12, 4)
#define GIC_ICC_SRE_EL1 GIC_SYSREG(3, 0, 12, 12, 5)
#define GIC_ICC_IGRPEN0_EL1 GIC_SYSREG(3, 0, 12, 12, 6)
#define GIC_ICC_IGRPEN1_EL1 GIC_SYSREG(3, 0, 12, 12, 7)
#define GIC_ICC_SRE_EL2 GIC_SYSREG(3, 4, 12, 9, 5)
#define GIC_ICH_AP0R0_EL2 GIC_SYSREG(3, 4, 12, 8, 0)
#define GIC_ICH_AP1R0_EL2 GIC_SYSREG(3, 4, 12, 9, 0)
#define GIC_ICH_HCR_EL2 GIC_SYSREG(3, 4, 12, 11, 0)
#define GIC_ICH_VTR_EL2 GIC_SYSREG(3, 4, 12, 11, 1)
#define GIC_ICH_MISR_EL2 GIC_SYSREG(3, 4, 12, 11, 2)
#define GIC_ICH_EISR_EL2 GIC_SYSREG(3, 4, 12, 11, 3)
#define GIC_ICH_ELRSR_EL2 GIC_SYSREG(3, 4, 12, 11, 5)
#define GIC_ICH_VMCR_EL2 GIC_SYSREG(3, 4, 12, 11, 7)
#define GIC_ICH_LR_EL2(n) GIC_SYSREG(3, 4, 12, 12 + (n) / 8, (n) % 8)
static inline uint64_t gic_read_sysreg(uint32_t pe, uint32_t encoding)
{
    return gic_host.read_sysreg(pe, encoding, 0);
}

static inline void gic_write_sysreg(uint32_t pe, uint32_t encoding, uint64_t value)
{
    gic_host.write_sysreg(pe, encoding, value, 0);
}

static inline uint64_t gic_guest_read_sysreg(uint32_t pe, uint32_t encoding)
{
    return gic_host.read_sysreg(pe, encoding, 1);
}

static inline void gic_guest_write_sysreg(uint32_t pe, uint32_t encoding, uint64_t value)
{
    gic_host.write_sysreg(pe, encoding, value, 1);
}

/*
 * For a driver without a CPU interface: a PE takes its most urgent LPI, or its resident vPE's vSGI or vLPI, whatever the
 * system registers say. The INTID, or 1023 for none.
 */
#define GIC_NONE 1023u
static inline uint32_t gic_acknowledge(uint32_t pe) { return gic_host.acknowledge(pe); }
static inline uint32_t gic_acknowledge_virtual(uint32_t pe) { return gic_host.acknowledge_virtual(pe); }

/*
 * The driver has done this operation: everything that it changed must count from now on. What it still owes the GIC
 * for that, an INV or a SYNC, is reported. The end of `driver` is such a place, too.
 */
static inline void gic_done(const char *operation) { gic_host.done(operation); }

#ifdef __cplusplus
}
#endif

#endif
