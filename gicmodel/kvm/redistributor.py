# SPDX-License-Identifier: Apache-2.0
"""The redistributor that a guest sees, as far as LPIs and SGIs go (Linux vgic-mmio-v3.c)."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from gicmodel.kvm.ap_list import flush_pending_lpis
from gicmodel.kvm.dist import VgicDist
from gicmodel.kvm.errors import KvmError
from gicmodel.kvm.interrupts import update_configuration, update_configurations
from gicmodel.kvm.pending_tables import sync_pending_table
from gicmodel.kvm.register_face import (
    DEFAULT_ATTRIBUTES,
    VgicHandler,
    VgicRegisters,
    handler,
    sanitise_attributes,
)
from gicmodel.layouts.lpi_tables import VSGIS
from gicmodel.layouts.registers.identification import KVM, REDISTRIBUTOR_PART, identification
from gicmodel.layouts.registers.redistributor import (
    GICR_CTLR,
    GICR_IIDR,
    GICR_INVLPIR,
    GICR_IPRIORITYR,
    GICR_ISENABLER0,
    GICR_PENDBASER,
    GICR_PROPBASER,
    GICR_TYPER,
    SGI_PRIORITIES,
)

_IDENTIFICATION = identification("GICR", 3, REDISTRIBUTOR_PART)
_IIDR = GICR_IIDR.pack(**KVM)
_REVISION_WITH_IR = 3
"""From this GICD_IIDR.Revision on, GICR_CTLR says that GICR_INVLPIR exists and EnableLPIs can be cleared."""
_AFF0_BITS, _AFF1_BITS = 4, 8


class VirtualRedistributor:
    """The redistributor of one vCPU, accessed as `VirtualIts` is. Offsets count from RD_base."""

    def __init__(self, dist: VgicDist, vcpu: int) -> None:
        self._dist = dist
        self._vcpu = vcpu
        dist.propbaser = GICR_PROPBASER.pack(**DEFAULT_ATTRIBUTES)
        dist.set_pendbaser(vcpu, GICR_PENDBASER.pack(**DEFAULT_ATTRIBUTES))
        face = VgicRegisters(dist, self._handlers())
        self.read = face.read
        self.write = face.write
        self._face = face

    def user_read(self, offset: int) -> int:
        """KVM_DEV_ARM_VGIC_GRP_REDIST_REGS, 32 bits. KvmError EBUSY, also before the GIC is initialised.

        A 64-bit register is two words, the upper one 4 bytes further on.
        """
        self._dist.require_initialised("EBUSY")
        return self._face.user_read(offset)

    def user_write(self, offset: int, value: int) -> None:
        """As `user_read`."""
        self._dist.require_initialised("EBUSY")
        self._face.user_write(offset, value)

    def _handlers(self) -> dict[str, VgicHandler]:
        dist, vcpu = self._dist, self._vcpu
        return {
            "GICR_CTLR": handler(self._read_ctlr, self._write_ctlr),
            "GICR_IIDR": handler(lambda: _IIDR),
            "GICR_TYPER": handler(self._read_typer),
            "GICR_WAKER": handler(lambda: 0),
            "GICR_PROPBASER": handler(lambda: dist.propbaser, self._write_propbaser),
            "GICR_PENDBASER": handler(self._read_pendbaser, self._write_pendbaser, stored=lambda: dist.pendbaser(vcpu)),
            "GICR_INVLPIR": handler(lambda: 0, self._write_invlpir, upper_is_wi=True),
            "GICR_INVALLR": handler(lambda: 0, self._write_invallr, upper_is_wi=True),
            "GICR_SYNCR": handler(lambda: 0),
            "GICR_PIDR2": handler(lambda: _IDENTIFICATION["GICR_PIDR2"]),
        } | _sgi_handlers(dist, vcpu)

    @property
    def _lpis_enabled(self) -> bool:
        return self._dist.lpis_enabled[self._vcpu]

    def _read_ctlr(self) -> int:
        features = self._dist.implementation_revision >= _REVISION_WITH_IR
        return GICR_CTLR.pack(EnableLPIs=self._lpis_enabled, IR=features, CES=features)

    def _write_ctlr(self, value: int) -> None:
        """EnableLPIs 0 to 1 loads the pending table unless PTZ says that it is zero; 1 to 0 drops what is pending."""
        enable = bool(GICR_CTLR.unpack(value)["EnableLPIs"])
        if enable == self._lpis_enabled:
            return
        if not enable:
            flush_pending_lpis(self._dist, self._vcpu)
            self._dist.invalidate_translation_caches()
        self._dist.lpis_enabled[self._vcpu] = enable
        if enable and not GICR_PENDBASER.unpack(self._dist.pendbaser(self._vcpu))["PTZ"]:
            # A register write has nobody to report to: the LPIs from the unreadable byte on stay as they were.
            with suppress(KvmError):
                sync_pending_table(self._dist, self._vcpu)

    def _read_typer(self) -> int:
        """Affinities as KVM numbers vCPUs: 16 to an Aff1, 4096 to an Aff2 (Linux `reset_mpidr`)."""
        aff1 = self._vcpu >> _AFF0_BITS
        return GICR_TYPER.pack(
            PLPIS=1,
            Processor_Number=self._vcpu,
            Last=self._vcpu == self._dist.nr_vcpus - 1,
            Aff0=self._vcpu % (1 << _AFF0_BITS),
            Aff1=aff1 % (1 << _AFF1_BITS),
            Aff2=aff1 >> _AFF1_BITS,
        )

    def _write_propbaser(self, value: int) -> None:
        """One register for all vCPUs, closed to those whose LPIs are enabled."""
        if not self._lpis_enabled:
            self._dist.propbaser = GICR_PROPBASER.pack(**sanitise_attributes(GICR_PROPBASER.unpack(value)))

    def _read_pendbaser(self) -> int:
        stored = GICR_PENDBASER.unpack(self._dist.pendbaser(self._vcpu))
        return GICR_PENDBASER.pack(**(stored | {"PTZ": 0}))

    def _write_pendbaser(self, value: int) -> None:
        if not self._lpis_enabled:
            fields = sanitise_attributes(GICR_PENDBASER.unpack(value))
            self._dist.set_pendbaser(self._vcpu, GICR_PENDBASER.pack(**fields))

    def _write_invlpir(self, value: int) -> None:
        slot = self._dist.lpis.find(GICR_INVLPIR.unpack(value)["INTID"])
        if slot is not None and self._lpis_enabled:
            # As for a command: an unreadable configuration byte leaves the LPI as it was.
            with suppress(KvmError):
                update_configuration(self._dist, slot)

    def _write_invallr(self, value: int) -> None:
        if self._lpis_enabled:
            update_configurations(self._dist, self._vcpu)


_SGIS_EACH = VSGIS // SGI_PRIORITIES
_Change = Callable[[int, bool], None]


def _sgi_handlers(dist: VgicDist, vcpu: int) -> dict[str, VgicHandler]:
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
