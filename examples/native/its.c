/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small GICv3 ITS driver: find the tables that the ITS wants, give it them and a command queue, switch on the LPIs of
 * PE 0, map one event of one device, take its interrupt, and mask and unmask it.
 *
 * Offsets and fields are those of Arm's DDI0601. A shareability and cacheability of zero, which memory without caches
 * needs, is right here; a driver for real caches has more to say.
 */
#include "gicmodel.h"

enum { GICD_CTLR = 0x0 };
enum { GITS_CTLR = 0x0, GITS_CBASER = 0x80, GITS_CWRITER = 0x88, GITS_CREADR = 0x90, GITS_BASER = 0x100 };
enum { GITS_PIDR2 = 0xffe8, GITS_TRANSLATER = 0x10040 };
enum { GICR_CTLR = 0x0, GICR_WAKER = 0x14, GICR_PROPBASER = 0x70, GICR_PENDBASER = 0x78 };
enum { MAPD = 0x08, MAPC = 0x09, MAPTI = 0x0a, INV = 0x0c, INVALL = 0x0d, SYNC = 0x05 };

#define VALID (1ull << 63)
#define PAGE 0x1000ull
#define INTID_BITS 14
#define LPIS ((1u << INTID_BITS) - 8192)

enum { DEVICE = 42, EVENT = 3, EVENT_BITS = 3, LPI = 8192 + 5 };
enum { MASKED = 0xa0, UNMASKED = 0xa1 };

static uint64_t its, redistributor, free_ram;
static uint64_t (*queue)[4];
static unsigned written;
static uint8_t *configuration;

/* RAM that nobody has used is zero. */
static uint64_t allocate(uint64_t size, uint64_t alignment)
{
    uint64_t address = (free_ram + alignment - 1) & ~(alignment - 1);

    free_ram = address + size;
    return address;
}

static int send(uint64_t dw0, uint64_t dw1, uint64_t dw2)
{
    uint64_t *slot = queue[written];

    slot[0] = dw0;
    slot[1] = dw1;
    slot[2] = dw2;
    slot[3] = 0;
    written = (written + 1) % (PAGE / sizeof(*queue));
    gic_write64(its + GITS_CWRITER, written * sizeof(*queue));
    for (int poll = 0; poll < 1000; poll++) {
        uint64_t creadr = gic_read64(its + GITS_CREADR);

        if (creadr & 1)
            return -1; /* Stalled */
        if (creadr == written * sizeof(*queue))
            return 0;
        gic_wait();
    }
    return -1;
}

static int sync(void)
{
    return send(SYNC, 0, 0);
}

static int configure(uint8_t byte)
{
    *(volatile uint8_t *)&configuration[LPI - 8192] = byte;
#ifdef FORGET_INV
    return 0;
#else
    return send((uint64_t)DEVICE << 32 | INV, EVENT, 0) || sync();
#endif
}

static int start_redistributor(void)
{
    uint64_t table = allocate(LPIS, PAGE);

    gic_write32(redistributor + GICR_WAKER, 0);
    while (gic_read32(redistributor + GICR_WAKER) & 4)
        gic_wait(); /* ChildrenAsleep */
    configuration = gic_ram(table, LPIS);
    if (!configuration)
        return -1;
    for (unsigned lpi = 0; lpi < LPIS; lpi++)
        configuration[lpi] = MASKED;
    gic_write64(redistributor + GICR_PROPBASER, table | (INTID_BITS - 1));
    gic_write64(redistributor + GICR_PENDBASER, allocate((1u << INTID_BITS) / 8, 0x10000));
    gic_write32(redistributor + GICR_CTLR, 1);

    gic_write32(gic_machine()->distributor + GICD_CTLR, 2); /* EnableGrp1: LPIs are of Group 1 */
    gic_write_sysreg(0, GIC_ICC_PMR_EL1, 0xff);
    gic_write_sysreg(0, GIC_ICC_IGRPEN1_EL1, 1);
    return 0;
}

static int start_its(void)
{
    if ((gic_read32(its + GITS_PIDR2) >> 4 & 0xf) < 3)
        return -1; /* ArchRev */
    for (unsigned n = 0; n < 8; n++) /* Type is not zero: a table that the ITS needs before it translates anything */
        if (gic_read64(its + GITS_BASER + 8 * n) >> 56 & 7)
            gic_write64(its + GITS_BASER + 8 * n, VALID | allocate(PAGE, PAGE));

    uint64_t ring = allocate(PAGE, 0x10000);

    queue = gic_ram(ring, PAGE);
    if (!queue)
        return -1;
    gic_write64(its + GITS_CBASER, VALID | ring);
    gic_write64(its + GITS_CWRITER, 0);
    gic_write32(its + GITS_CTLR, 1);
    return send(MAPC, 0, VALID) || sync() || send(INVALL, 0, 0) || sync();
}

static int map(void)
{
    uint64_t itt = allocate(16 << EVENT_BITS, 256);

    return send((uint64_t)DEVICE << 32 | MAPD, EVENT_BITS - 1, VALID | itt) ||
           send((uint64_t)DEVICE << 32 | MAPTI, (uint64_t)LPI << 32 | EVENT, 0) || sync();
}

static void device_interrupts(void)
{
    gic_device_write(its + GITS_TRANSLATER, EVENT, DEVICE);
}

static uint64_t take(void)
{
    uint64_t intid = gic_read_sysreg(0, GIC_ICC_IAR1_EL1);

    if (intid != GIC_NONE)
        gic_write_sysreg(0, GIC_ICC_EOIR1_EL1, intid);
    return intid;
}

int driver(void)
{
    its = gic_machine()->its;
    redistributor = gic_machine()->redistributors;
    free_ram = gic_machine()->ram;

    if (start_redistributor() || start_its())
        return 1;
    gic_done("boot");

    if (map() || configure(UNMASKED))
        return 2;
    gic_done("map");
    device_interrupts();
    if (take() != LPI || take() != GIC_NONE)
        return 3;

    if (configure(MASKED))
        return 4;
    gic_done("mask");
    device_interrupts();
    if (take() != GIC_NONE)
        return 5;

    if (configure(UNMASKED))
        return 6;
    gic_done("unmask");
    return take() == LPI ? 0 : 7;
}
