/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host GICv4 as the vgic sees its driver: VPTs in memory, and host interrupts that feed vLPIs or are vSGIs.
 *
 * A host interrupt is a number: first those of devices, then 16 vSGIs a vPE. A vLPI is pending in its VPT at once, as
 * a device's write or an INT makes it; VMOVI takes the pending state along, DISCARD drops it.
 */
#ifndef SHIM_HOST_H
#define SHIM_HOST_H

#include <linux/irqchip/arm-gic-v4.h>

#define SHIM_VINTIDS 0x10000
#define SHIM_DEVICE_IRQS 256
#define SHIM_FIRST_VSGI SHIM_DEVICE_IRQS
#define SHIM_FIRST_DOORBELL (SHIM_FIRST_VSGI + 16 * SHIM_MOST_VCPUS)
#define SHIM_IRQS (SHIM_FIRST_DOORBELL + SHIM_MOST_VCPUS)

struct page { u8 bytes[SHIM_VINTIDS / 8]; };

struct shim_irq {
	struct irq_desc desc;
	bool mapped, pending;
	unsigned int depth;
	struct its_vlpi_map map;
	struct its_vpe *vpe;
};

static struct shim_irq shim_irqs[SHIM_IRQS];

/* The VM's table of vLPI configuration: host interrupts that feed one vLPI have one byte. */
static u8 shim_bytes[SHIM_VINTIDS];

/* How often KVM has asked the driver for what; the model's driver counts its commands. */
enum { SHIM_MAP, SHIM_REMAP, SHIM_INT, SHIM_CLEAR, SHIM_KINDS };
static int shim_asked[SHIM_KINDS];

void *page_address(const struct page *page)
{
	return (void *)page->bytes;
}

static bool shim_is_vsgi(unsigned int irq)
{
	return irq >= SHIM_FIRST_VSGI && irq < SHIM_FIRST_DOORBELL;
}

static void shim_vpt_write(const struct its_vlpi_map *map, bool pending)
{
	u8 *byte = map->vpe->vpt_page->bytes + map->vintid / 8, mask = 1 << map->vintid % 8;

	BUG_ON(map->vintid >= SHIM_VINTIDS);
	*byte = pending ? *byte | mask : *byte & ~mask;
}

static bool shim_vpt_read(const struct its_vlpi_map *map)
{
	BUG_ON(map->vintid >= SHIM_VINTIDS);
	return map->vpe->vpt_page->bytes[map->vintid / 8] >> map->vintid % 8 & 1;
}

int its_map_vlpi(int irq, struct its_vlpi_map *map)
{
	struct shim_irq *host = shim_irqs + irq;
	bool pending = host->mapped && shim_vpt_read(&host->map);

	/* The driver reads the vPE's number first of all: an LPI without a target is a NULL vPE, or nearly. */
	if ((unsigned long)map->vpe < PAGE_SIZE)
		BUG();
	shim_asked[host->mapped ? SHIM_REMAP : SHIM_MAP]++;
	if (host->mapped)
		shim_vpt_write(&host->map, false);
	else
		shim_bytes[map->vintid % SHIM_VINTIDS] = map->properties | LPI_PROP_GROUP1;
	host->mapped = true;
	host->map = *map;
	if (pending)
		shim_vpt_write(map, true);
	return 0;
}

int its_get_vlpi(int irq, struct its_vlpi_map *map)
{
	if (!shim_irqs[irq].mapped)
		return -EINVAL;
	*map = shim_irqs[irq].map;
	return 0;
}

#ifdef ITS_UNMAP_VLPI_RETURNS
int its_unmap_vlpi(int irq)
#else
void its_unmap_vlpi(int irq)
#endif
{
	struct shim_irq *host = shim_irqs + irq;

	if (host->mapped)
		shim_vpt_write(&host->map, false);
	host->mapped = false;
	/* The driver says EINVAL where nothing was mapped, of which KVM makes no more than a warning. */
#ifdef ITS_UNMAP_VLPI_RETURNS
	return 0;
#endif
}

int its_prop_update_vlpi(int irq, u8 properties, bool inv)
{
	if (!shim_irqs[irq].mapped)
		return -EINVAL;
	/* The driver keeps Group 1, which is RES1 in the byte. */
	shim_irqs[irq].map.properties = properties | LPI_PROP_GROUP1;
	shim_bytes[shim_irqs[irq].map.vintid % SHIM_VINTIDS] = properties | LPI_PROP_GROUP1;
	return 0;
}

int its_prop_update_vsgi(int irq, u8 priority, bool group)
{
	struct its_vpe *vpe = shim_irqs[irq].vpe;

	vpe->sgi_config[(irq - SHIM_FIRST_VSGI) % 16].priority = priority;
	vpe->sgi_config[(irq - SHIM_FIRST_VSGI) % 16].group = group;
	return 0;
}

int its_invall_vpe(struct its_vpe *vpe)
{
	return 0;
}

int its_make_vpe_resident(struct its_vpe *vpe, bool g0en, bool g1en)
{
	vpe->resident = true;
	vpe->ready = false;
	return 0;
}

int its_make_vpe_non_resident(struct its_vpe *vpe, bool doorbell)
{
	vpe->resident = false;
	return 0;
}

int its_commit_vpe(struct its_vpe *vpe)
{
	vpe->ready = true;
	return 0;
}

/* A host without VMs. */
static void shim_new_host(void)
{
	memset(shim_irqs, 0, sizeof(shim_irqs));
	memset(shim_asked, 0, sizeof(shim_asked));
	memset(shim_bytes, 0, sizeof(shim_bytes));
	for (int irq = 0; irq < SHIM_IRQS; irq++) {
		shim_irqs[irq].desc.irq_data.hwirq = irq;
		shim_irqs[irq].depth = 1;
	}
}

int its_alloc_vcpu_irqs(struct its_vm *vm)
{
	for (int i = 0; i < vm->nr_vpes; i++) {
		struct its_vpe *vpe = vm->vpes[i];

		vpe->vpt_page = calloc(1, sizeof(struct page));
		vpe->its_vm = vm;
		vpe->irq = SHIM_FIRST_DOORBELL + i;
		for (int sgi = 0; sgi < 16; sgi++)
			shim_irqs[SHIM_FIRST_VSGI + 16 * i + sgi].vpe = vpe;
		if (!shim_cpuif_has_vsgi)
			continue;
		vpe->sgi_domain = calloc(1, sizeof(struct irq_domain));
		vpe->sgi_domain->first = SHIM_FIRST_VSGI + 16 * i;
	}
	return 0;
}

void its_free_vcpu_irqs(struct its_vm *vm)
{
	for (int i = 0; i < vm->nr_vpes; i++) {
		free(vm->vpes[i]->vpt_page);
		free(vm->vpes[i]->sgi_domain);
	}
}

int irq_set_irqchip_state(unsigned int irq, enum irqchip_irq_state which, bool state)
{
	struct shim_irq *host = shim_irqs + irq;

	if (shim_is_vsgi(irq)) {
		host->pending = state;
		return 0;
	}
	if (irq >= SHIM_FIRST_DOORBELL)
		return 0;
	/* The host has it back: its handler asks KVM for the guest's LPI again, and KVM raises it again. */
	if (!host->mapped && state)
		shim_die(SHIM_STORM, __func__);
	shim_asked[state ? SHIM_INT : SHIM_CLEAR]++;
	if (host->mapped)
		shim_vpt_write(&host->map, state);
	return 0;
}

int irq_get_irqchip_state(unsigned int irq, enum irqchip_irq_state which, bool *state)
{
	*state = shim_irqs[irq].pending;
	return 0;
}

unsigned int irq_find_mapping(struct irq_domain *domain, irq_hw_number_t number)
{
	/* Without vSGIs in the CPU interfaces the driver has no domain for them, and number 0 has no descriptor. */
	if (!domain)
		BUG();
	return domain->first + number;
}

struct irq_desc *irq_to_desc(unsigned int irq)
{
	return &shim_irqs[irq].desc;
}

struct irq_data *irq_desc_get_irq_data(struct irq_desc *desc)
{
	return &desc->irq_data;
}

int irq_domain_activate_irq(struct irq_data *data, bool reserve)
{
	return 0;
}

/* The driver disables a vSGI that ends, and clears what is pending. */
void irq_domain_deactivate_irq(struct irq_data *data)
{
	struct shim_irq *host = shim_irqs + data->hwirq;

	host->pending = false;
	host->vpe->sgi_config[(data->hwirq - SHIM_FIRST_VSGI) % 16].enabled = false;
}

static void shim_enable(unsigned int irq, bool enabled)
{
	if (shim_is_vsgi(irq))
		shim_irqs[irq].vpe->sgi_config[(irq - SHIM_FIRST_VSGI) % 16].enabled = enabled;
}

/* Disables count, from 1 on, and the driver hears of the first and of the end of the last. */
void enable_irq(unsigned int irq)
{
	if (WARN_ON(!shim_irqs[irq].depth))
		return;
	if (!--shim_irqs[irq].depth)
		shim_enable(irq, true);
}

void disable_irq_nosync(unsigned int irq)
{
	if (!shim_irqs[irq].depth++)
		shim_enable(irq, false);
}

bool irqd_irq_disabled(struct irq_data *data)
{
	return shim_irqs[data->hwirq].depth;
}

int irq_set_affinity(unsigned int irq, const void *mask)
{
	return 0;
}

/* Doorbells: to request one maps the vPE, to free it unmaps it. */
int request_irq(unsigned int irq, irq_handler_t handler, unsigned long flags, const char *name, void *device)
{
	return 0;
}

const void *free_irq(unsigned int irq, void *device)
{
	return NULL;
}

#endif
