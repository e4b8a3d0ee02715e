# SPDX-License-Identifier: Apache-2.0
"""The distributor that a guest sees: the switch of all its interrupts, and of vSGIs (Linux vgic-mmio-v3.c)."""

from gicmodel.kvm.dist import VgicDist
from gicmodel.kvm.errors import KvmError
from gicmodel.kvm.lpi import INTERRUPT_ID_BITS_ITS
from gicmodel.kvm.register_face import VgicHandler, VgicRegisters, handler
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.distributor import GICD_CTLR, GICD_IIDR, GICD_TYPER, GICD_TYPER2
from gicmodel.layouts.registers.identification import DISTRIBUTOR_PART, KVM, identification

REVISIONS = (2, 3)
"""What GICD_IIDR.Revision may be. From 3 on GICR_CTLR.IR and CES are 1."""

_TYPER = GICD_TYPER.pack(IDbits=INTERRUPT_ID_BITS_ITS - 1, LPIS=1)
_IDENTIFICATION = identification("GICD", 3, DISTRIBUTOR_PART)
_BEFORE_INIT = frozenset(register(name).offset for name in ("GICD_IIDR", "GICD_TYPER2"))


class VirtualDistributor:
    """GICD_CTLR, and what userspace may choose before the GIC is initialised. The VM has no SPIs."""

    def __init__(self, dist: VgicDist) -> None:
        self._dist = dist
        self._face = VgicRegisters(dist, self._handlers(), "4.1")
        self.read = self._face.read
        self.write = self._face.write

    def user_read(self, offset: int) -> int:
        """KVM_DEV_ARM_VGIC_GRP_DIST_REGS, 32 bits. KvmError EBUSY, for most also before the GIC is initialised."""
        self._require_initialised(offset)
        return self._face.user_read(offset)

    def user_write(self, offset: int, value: int) -> None:
        """As `user_read`; and KvmError EINVAL for a value that the register refuses."""
        self._require_initialised(offset)
        self._face.user_write(offset, value)

    def _require_initialised(self, offset: int) -> None:
        if offset not in _BEFORE_INIT or not self._dist.behaviour.sizes_before_init:
            self._dist.require_initialised("EBUSY")

    def _handlers(self) -> dict[str, VgicHandler]:
        return {
            "GICD_CTLR": handler(self._read_ctlr, self._write_ctlr, user_write=self._user_write_ctlr),
            "GICD_TYPER": handler(lambda: _TYPER),
            "GICD_IIDR": handler(self._read_iidr, user_write=self._user_write_iidr),
            "GICD_TYPER2": handler(self._read_typer2, user_write=self._user_write_typer2),
            "GICD_PIDR2": handler(lambda: _IDENTIFICATION["GICD_PIDR2"]),
        }

    def _read_ctlr(self) -> int:
        dist = self._dist
        return GICD_CTLR.pack(DS=1, ARE=1, nASSGIreq=dist.nassgireq, EnableGrp1=dist.enabled)

    def _write_ctlr(self, value: int) -> None:
        """nASSGIreq can change only together with a disabled distributor, and takes the SGIs along at once."""
        dist, fields = self._dist, GICD_CTLR.unpack(value)
        was_enabled, dist.enabled = dist.enabled, bool(fields["EnableGrp1"])
        wanted = bool(fields["nASSGIreq"]) and dist.supports_direct_sgis
        if not (was_enabled and dist.enabled) and wanted != dist.nassgireq:
            dist.nassgireq = wanted
            dist.sgis.configure(wanted)
        if was_enabled != dist.enabled:
            dist.reload_gicv4()

    def _user_write_ctlr(self, value: int) -> None:
        """Only stored: the SGIs follow when the first vCPU runs."""
        dist, fields = self._dist, GICD_CTLR.unpack(value)
        possible = dist.supports_direct_sgis if dist.behaviour.asks_cpu_interface_for_vsgis else dist.has_gicv4_1
        dist.enabled = bool(fields["EnableGrp1"])
        dist.nassgireq = bool(fields["nASSGIreq"]) and possible

    def _read_typer2(self) -> int:
        return GICD_TYPER2.pack(nASSGIcap=self._dist.supports_direct_sgis)

    def _user_write_typer2(self, value: int) -> None:
        if value == self._read_typer2():
            return
        if not self._dist.behaviour.sizes_before_init:
            raise KvmError("EINVAL", f"GICD_TYPER2 {value:#x}: this release of Linux lets nobody write it")
        if self._dist.initialised:
            raise KvmError("EBUSY", "GICD_TYPER2 is fixed once the GIC is initialised")
        possible = GICD_TYPER2.pack(nASSGIcap=self._dist.host_has_vsgis)
        if value & ~possible:
            raise KvmError("EINVAL", f"GICD_TYPER2 {value:#x}: at most {possible:#x} on this host")
        self._dist.nassgicap = bool(value)

    def _read_iidr(self) -> int:
        return GICD_IIDR.pack(Revision=self._dist.implementation_revision, **KVM)

    def _user_write_iidr(self, value: int) -> None:
        revision = GICD_IIDR.unpack(value)["Revision"]
        if revision not in REVISIONS or GICD_IIDR.pack(Revision=revision, **KVM) != value:
            raise KvmError("EINVAL", f"GICD_IIDR {value:#x}: not one of KVM's revisions {REVISIONS}")
        self._dist.implementation_revision = revision
