/* SPDX-License-Identifier: Apache-2.0 */
/* The core of interrupts: hierarchies of domains, activation, masking, affinity; as kernel/irq documents them. */
#ifndef SHIM_GIC_IRQS_H
#define SHIM_GIC_IRQS_H

#define IRQS (1 << 16)

static struct irq_desc irqs[IRQS];
static unsigned int irqs_end = 1;
static struct irq_chip no_chip = { .name = "none" };

struct irq_desc *irq_to_desc(unsigned int irq)
{
	return irq < irqs_end && irqs[irq].used ? irqs + irq : NULL;
}

struct irq_data *irq_get_irq_data(unsigned int irq)
{
	return &irqs[irq].irq_data;
}

struct irq_data *irq_domain_get_irq_data(struct irq_domain *domain, unsigned int irq)
{
	struct irq_data *data = &irqs[irq].irq_data;

	while (data && data->domain != domain)
		data = data->parent_data;
	return data;
}

int irq_domain_set_hwirq_and_chip(struct irq_domain *domain, unsigned int irq, irq_hw_number_t number,
				  struct irq_chip *chip, void *data)
{
	struct irq_data *level = irq_domain_get_irq_data(domain, irq);

	if (!level)
		return -ENOENT;
	level->hwirq = number;
	level->chip = chip ? chip : &no_chip;
	level->chip_data = data;
	return 0;
}

void irq_domain_reset_irq_data(struct irq_data *data)
{
	data->hwirq = 0;
	data->chip = &no_chip;
	data->chip_data = NULL;
}

/* ---- domains ---- */

struct irq_domain *irq_domain_create_hierarchy(struct irq_domain *parent, unsigned int flags, unsigned int size,
					       struct fwnode_handle *handle, const struct irq_domain_ops *ops, void *data)
{
	struct irq_domain *domain = calloc(1, sizeof(*domain));

	*domain = (struct irq_domain){ .ops = ops, .host_data = data, .flags = flags, .fwnode = handle, .parent = parent };
	return domain;
}

struct irq_domain *msi_create_parent_irq_domain(struct irq_domain_info *info, const struct msi_parent_ops *ops)
{
	return irq_domain_create_hierarchy(info->parent, info->domain_flags, 0, info->fwnode, info->ops, info->host_data);
}

int irq_domain_alloc_irqs_parent(struct irq_domain *domain, unsigned int irq, unsigned int count, void *argument)
{
	return domain->parent ? domain->parent->ops->alloc(domain->parent, irq, count, argument) : -ENOSYS;
}

static void free_of_domain(struct irq_domain *domain, unsigned int irq, unsigned int count)
{
	if (!domain || !domain->ops->free)
		return;
	for (unsigned int each = irq; each < irq + count; each++)
		if (irq_domain_get_irq_data(domain, each))
			domain->ops->free(domain, each, 1);
}

void irq_domain_free_irqs_parent(struct irq_domain *domain, unsigned int irq, unsigned int count)
{
	free_of_domain(domain->parent, irq, count);
}

/* The root of all: the GIC's distributor, whose LPIs need nothing. */
static int root_alloc(struct irq_domain *domain, unsigned int irq, unsigned int count, void *argument)
{
	struct irq_fwspec *spec = argument;
	u32 number = spec->param[spec->param_count == 3];

	for (unsigned int i = 0; i < count; i++)
		irq_domain_set_hwirq_and_chip(domain, irq + i, number + i, NULL, NULL);
	return 0;
}

static void root_free(struct irq_domain *domain, unsigned int irq, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		irq_domain_reset_irq_data(irq_domain_get_irq_data(domain, irq + i));
}

static const struct irq_domain_ops root_ops = { .alloc = root_alloc, .free = root_free };
static struct device_node root_node = { { .of_tree = true }, -1 };
static struct irq_domain root_domain = { .ops = &root_ops, .fwnode = &root_node.fwnode };

/* ---- descriptors ---- */

static unsigned int find_free_irqs(unsigned int count)
{
	unsigned int found = 0;

	for (unsigned int irq = 1; irq < irqs_end; irq++) {
		found = irqs[irq].used ? 0 : found + 1;
		if (found == count)
			return irq + 1 - count;
	}
	BUG_ON(irqs_end + count > IRQS);
	irqs_end += count;
	return irqs_end - count;
}

static void make_levels(unsigned int irq, struct irq_domain *domain)
{
	struct irq_desc *desc = irqs + irq;
	struct irq_data *level = &desc->irq_data;

	*desc = (struct irq_desc){ .used = true, .depth = 1, .common = { .disabled = true, .masked = true } };
	for (;; level = level->parent_data) {
		*level = (struct irq_data){ .irq = irq, .common = &desc->common, .domain = domain, .chip = &no_chip };
		domain = domain->parent;
		if (!domain)
			return;
		level->parent_data = calloc(1, sizeof(*level));
	}
}

static void drop_levels(unsigned int irq)
{
	struct irq_data *level = irqs[irq].irq_data.parent_data, *next;

	for (; level; level = next) {
		next = level->parent_data;
		free(level);
	}
	irqs[irq].used = false;
}

int irq_domain_alloc_irqs(struct irq_domain *domain, unsigned int count, int node, void *argument)
{
	unsigned int first = find_free_irqs(count);
	int error;

	for (unsigned int i = 0; i < count; i++)
		make_levels(first + i, domain);
	error = domain->ops->alloc(domain, first, count, argument);
	if (error >= 0)
		return first;
	for (unsigned int i = 0; i < count; i++)
		drop_levels(first + i);
	return error;
}

void irq_domain_free_irqs(unsigned int irq, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		WARN_ON(irqs[irq + i].common.activated);
	free_of_domain(irqs[irq].irq_data.domain, irq, count);
	for (unsigned int i = 0; i < count; i++)
		drop_levels(irq + i);
}

unsigned int irq_find_mapping(struct irq_domain *domain, irq_hw_number_t number)
{
	for (unsigned int irq = 1; irq < irqs_end; irq++)
		if (irqs[irq].used && irqs[irq].irq_data.domain == domain && irqs[irq].irq_data.hwirq == number)
			return irq;
	return 0;
}

/* Parents first. */
static int activate(struct irq_data *data, bool reserve)
{
	int error = data->parent_data ? activate(data->parent_data, reserve) : 0;

	if (error || !data->domain->ops->activate)
		return error;
	return data->domain->ops->activate(data->domain, data, reserve);
}

int irq_domain_activate_irq(struct irq_data *data, bool reserve)
{
	int error = data->common->activated ? 0 : activate(data, reserve);

	data->common->activated |= !error;
	return error;
}

void irq_domain_deactivate_irq(struct irq_data *data)
{
	if (!data->common->activated)
		return;
	data->common->activated = false;
	for (; data; data = data->parent_data)
		if (data->domain->ops->deactivate)
			data->domain->ops->deactivate(data->domain, data);
}

/* ---- what chips do: that of the first level that can ---- */

#define FIRST_THAT(irq, method) ({ \
	struct irq_data *_level = &irqs[irq].irq_data; \
	while (_level && !_level->chip->method) \
		_level = _level->parent_data; \
	_level; \
})

int irq_set_vcpu_affinity(unsigned int irq, void *info)
{
	struct irq_data *level = FIRST_THAT(irq, irq_set_vcpu_affinity);

	return level ? level->chip->irq_set_vcpu_affinity(level, info) : -ENOSYS;
}

int irq_set_irqchip_state(unsigned int irq, enum irqchip_irq_state which, bool state)
{
	struct irq_data *level = FIRST_THAT(irq, irq_set_irqchip_state);

	return level ? level->chip->irq_set_irqchip_state(level, which, state) : -EINVAL;
}

int irq_get_irqchip_state(unsigned int irq, enum irqchip_irq_state which, bool *state)
{
	struct irq_data *level = FIRST_THAT(irq, irq_get_irqchip_state);

	return level ? level->chip->irq_get_irqchip_state(level, which, state) : -EINVAL;
}

int irq_set_affinity(unsigned int irq, const struct cpumask *mask)
{
	struct irq_data *data = &irqs[irq].irq_data;
	int result = data->chip->irq_set_affinity ? data->chip->irq_set_affinity(data, mask, false) : -EINVAL;

	return min(result, 0);
}

void irq_set_status_flags(unsigned int irq, unsigned long flags)
{
	irqs[irq].common.status |= flags;
}

void irq_clear_status_flags(unsigned int irq, unsigned long flags)
{
	irqs[irq].common.status &= ~flags;
}

/* ---- masking: a line is masked when it is disabled only if that is not to be lazy ---- */

static void mask_irq(struct irq_desc *desc)
{
	if (desc->common.masked || !desc->irq_data.chip->irq_mask)
		return;
	desc->irq_data.chip->irq_mask(&desc->irq_data);
	desc->common.masked = true;
}

static void unmask_irq(struct irq_desc *desc)
{
	if (!desc->common.masked || !desc->irq_data.chip->irq_unmask)
		return;
	desc->irq_data.chip->irq_unmask(&desc->irq_data);
	desc->common.masked = false;
}

static void disable(struct irq_desc *desc, bool mask)
{
	desc->common.disabled = true;
	if (mask)
		mask_irq(desc);
}

static void start(struct irq_desc *desc)
{
	bool first = !desc->common.started;

	desc->depth = 0;
	desc->common.started = true;
	desc->common.disabled = false;
	unmask_irq(desc);
	if (first && !(desc->common.status & IRQ_NO_BALANCING) && desc->irq_data.chip->irq_set_affinity)
		desc->irq_data.chip->irq_set_affinity(&desc->irq_data, cpu_online_mask, false);
}

void disable_irq_nosync(unsigned int irq)
{
	if (!irqs[irq].depth++)
		disable(irqs + irq, irqs[irq].common.status & IRQ_DISABLE_UNLAZY);
}

void enable_irq(unsigned int irq)
{
	if (WARN_ON(!irqs[irq].depth))
		return;
	if (irqs[irq].depth == 1)
		start(irqs + irq);
	else
		irqs[irq].depth--;
}

/* request_irq and free_irq, without a handler. */
static int request(unsigned int irq)
{
	int error = irq_domain_activate_irq(&irqs[irq].irq_data, false);

	if (error)
		return error;
	irqs[irq].depth = 1;
	if (!(irqs[irq].common.status & IRQ_NOAUTOEN))
		start(irqs + irq);
	return 0;
}

static void release(unsigned int irq)
{
	if (irqs[irq].common.started) {
		irqs[irq].depth = 1;
		disable(irqs + irq, true);
		irqs[irq].common.started = false;
	}
	irq_domain_deactivate_irq(&irqs[irq].irq_data);
}
#endif
