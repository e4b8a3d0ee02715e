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
    uint32_t (*acknowledge)(uint32_t pe);
    uint32_t (*acknowledge_virtual)(uint32_t pe);
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

/* A PE takes its most urgent interrupt, its resident vPE's for the virtual one: the INTID, or 1023 for none. */
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
