# SPDX-License-Identifier: Apache-2.0
"""The SGI_base registers of a vCPU's redistributor, as far as SGIs go; the bits of PPIs are RAZ/WI."""

from collections.abc import Callable
from functools import partial

from gicmodel.kvm.dist import VgicDist
from gicmodel.kvm.register_face import VgicHandler, handler
from gicmodel.layouts.lpi_tables import VSGIS
from gicmodel.layouts.registers.redistributor import GICR_IPRIORITYR, GICR_ISENABLER0, SGI_PRIORITIES

_SGIS_EACH = VSGIS // SGI_PRIORITIES
_Change = Callable[[int, bool], None]


def sgi_handlers(dist: VgicDist, vcpu: int) -> dict[str, VgicHandler]:
    """The handlers of one vCPU's registers.

    Userspace's writes of enables do not reach vSGIs, its write of GICR_ISPENDR0 gives the whole state, and
    GICR_ICPENDR0 is nothing to it.
    """
    sgis, rows = dist.sgis, dist.sgis.rows[vcpu]
    reaches = dist.behaviour.ispendr_reaches_vsgis
    enabled = partial(_pack, lambda number: bool(rows["enabled"][number]))
    pending = partial(_pack, partial(sgis.pending, vcpu))
    enable, set_pending = partial(sgis.enable, vcpu), partial(sgis.set_pending, vcpu)

    def enable_in_software(number: int, on: bool) -> None:
        rows["enabled"][number] = on

    def restore_pending(number: int, on: bool) -> None:
        sgis.restore_pending(vcpu, number, on, reaches)

    return {
        "GICR_IGROUPR0": handler(
            partial(_pack, lambda number: bool(rows["group"][number])), partial(_write, partial(sgis.set_group, vcpu))
        ),
        "GICR_ISENABLER0": handler(
            enabled, partial(_set, enable, True), user_write=partial(_set, enable_in_software, True)
        ),
        "GICR_ICENABLER0": handler(
            enabled, partial(_set, enable, False), user_write=partial(_set, enable_in_software, False)
        ),
        "GICR_ISPENDR0": handler(
            pending, partial(_set, set_pending, True), user_write=partial(_write, restore_pending)
        ),
        "GICR_ICPENDR0": handler(
            pending, partial(_set, set_pending, False), user_read=lambda: 0, user_write=lambda value: None
        ),
    } | {f"GICR_IPRIORITYR{n}": _priorities(dist, vcpu, n) for n in range(SGI_PRIORITIES)}


def _priorities(dist: VgicDist, vcpu: int, register: int) -> VgicHandler:
    names = {f"Priority_offset_{n}B": register * _SGIS_EACH + n for n in range(_SGIS_EACH)}

    def read() -> int:
        rows = dist.sgis.rows[vcpu]
        return GICR_IPRIORITYR.pack(**{name: int(rows["priority"][number]) for name, number in names.items()})

    def write(value: int) -> None:
        for name, priority in GICR_IPRIORITYR.unpack(value).items():
            dist.sgis.set_priority(vcpu, names[name], priority)

    return handler(read, write)


def _pack(state: Callable[[int], bool]) -> int:
    return GICR_ISENABLER0.pack(SGI=sum(state(number) << number for number in range(VSGIS)))


def _write(change: _Change, value: int) -> None:
    """Give every SGI its bit."""
    bits = GICR_ISENABLER0.unpack(value)["SGI"]
    for number in range(VSGIS):
        change(number, bool(bits >> number & 1))


def _set(change: _Change, on: bool, value: int) -> None:
    """Change the SGIs whose bit is 1."""
    bits = GICR_ISENABLER0.unpack(value)["SGI"]
    for number in range(VSGIS):
        if bits >> number & 1:
            change(number, on)
