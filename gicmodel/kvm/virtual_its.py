# SPDX-License-Identifier: Apache-2.0
"""The ITS that a guest sees: its registers, its command queue, and what userspace may ask of it."""

from collections.abc import Callable
from functools import partial

from gicmodel.config import FRAME_BYTES
from gicmodel.kvm.commands import execute
from gicmodel.kvm.dist import VgicDist
from gicmodel.kvm.errors import KvmError
from gicmodel.kvm.guest_ram import ENTRY_BYTES, entries_inside
from gicmodel.kvm.interrupts import set_latch, set_pending
from gicmodel.kvm.its import ID_BITS, VgicIts
from gicmodel.kvm.register_face import (
    DEFAULT_ATTRIBUTES,
    VgicHandler,
    VgicRegisters,
    handler,
    sanitise_attributes,
)
from gicmodel.kvm.restore_tables import restore_tables
from gicmodel.kvm.save_tables import save_tables
from gicmodel.layouts.commands import COMMAND_BYTES
from gicmodel.layouts.registers.by_name import register
from gicmodel.layouts.registers.identification import DISTRIBUTOR_PART, KVM, PIDR4, identification
from gicmodel.layouts.registers.its import (
    BASERS,
    GITS_BASER,
    GITS_CBASER,
    GITS_CREADR,
    GITS_CTLR,
    GITS_CWRITER,
    GITS_IIDR,
    GITS_TYPER,
    QUEUE_ALIGNMENT,
    queue_bytes,
)
from gicmodel.layouts.table import TableType

ITS_BYTES = 0x2_0000
"""KVM_VGIC_V3_ITS_SIZE: the control and the translation frame."""
IPA_BITS = 40
"""The guest physical addresses of a VM of KVM's default type."""

_PAGES_64K = 2
_ABI_REVISIONS = 1
_COMMAND_WORDS = COMMAND_BYTES // ENTRY_BYTES
_CBASER_RES0 = GITS_CBASER.res0_masks[0][1]
"""KVM keeps these bits as they are written (Linux `vgic_sanitise_its_cbaser`)."""
_TYPER = GITS_TYPER.pack(Physical=1, Devbits=ID_BITS - 1, ID_bits=ID_BITS - 1, ITT_entry_size=ENTRY_BYTES - 1)
_FIRST_64BIT = register("GITS_TYPER", "3").offset
_FIRST_IDENTIFICATION = register("GITS_PIDR4", "3").offset
_IDENTIFICATION = identification("GITS", 3, DISTRIBUTOR_PART) | {"GITS_PIDR4": PIDR4.pack(SIZE=4)}


class VirtualIts(VgicIts):
    """One virtual GICv3 ITS (Linux `KVM_DEV_TYPE_ARM_VGIC_ITS`).

    `read` and `write` are the guest's accesses, `user_read` and `user_write` those of KVM_DEV_ARM_VGIC_GRP_ITS_REGS;
    offsets count from the ITS's base. The guest's commands run to the end of its queue in the write that starts them.
    """

    def __init__(self, dist: VgicDist) -> None:
        super().__init__(dist)
        self.base_address: int | None = None
        self.abi_revision = 0
        self.basers = {kind: _baser(kind, DEFAULT_ATTRIBUTES) for kind in self.basers}
        face = VgicRegisters(dist, self._handlers())
        self._face = face
        self.read = face.read
        self.write = face.write

    def set_base_address(self, address: int) -> None:
        """Give the ITS its place. KvmError EEXIST if it has one, EINVAL, E2BIG (Linux `vgic_check_iorange`)."""
        if self.base_address is not None:
            raise KvmError("EEXIST", f"the ITS is at {self.base_address:#x} already")
        if address % FRAME_BYTES:
            raise KvmError("EINVAL", f"ITS address {address:#x} is not aligned to {FRAME_BYTES:#x}")
        if address + ITS_BYTES > 1 << IPA_BITS:
            raise KvmError("E2BIG", f"ITS address {address:#x}: the VM's addresses have {IPA_BITS} bits")
        self.base_address = address

    def user_read(self, offset: int) -> int:
        """Read a whole register. KvmError EINVAL, EBUSY, ENXIO, in that order."""
        self._require_user_access(offset)
        return self._face.user_read_whole(offset)

    def user_write(self, offset: int, value: int) -> None:
        """Write a whole register. KvmError EINVAL, EBUSY, ENXIO, in that order, and what the register refuses."""
        self._require_user_access(offset)
        self._face.user_write_whole(offset, value)

    def inject_msi(self, device_id: int, event_id: int) -> int:
        """KVM_SIGNAL_MSI: 1 if delivered, 0 if the guest has not mapped the event. KvmError EBUSY as `resolve_lpi`.

        An event whose translation is remembered is made pending in software, whatever has happened to it since.
        """
        lpi = self._cached_lpi(device_id, event_id)
        if lpi is not None:
            set_latch(self.dist, lpi)
            return 1
        lpi = self.resolve_lpi(device_id, event_id)
        if lpi is None:
            return 0
        set_pending(self.dist, lpi)
        return 1

    def save_tables(self) -> None:
        """KVM_DEV_ARM_ITS_SAVE_TABLES. KvmError EBUSY while a vCPU runs, and as `tables.save_tables`."""
        self.dist.lock_all_vcpus()
        save_tables(self)

    def restore_tables(self) -> None:
        """KVM_DEV_ARM_ITS_RESTORE_TABLES. KvmError EBUSY while a vCPU runs, and as `tables.restore_tables`."""
        self.dist.lock_all_vcpus()
        restore_tables(self)

    def reset(self) -> None:
        """KVM_DEV_ARM_ITS_CTRL_RESET: disable the ITS and forget every mapping; guest RAM stays. KvmError EBUSY."""
        self.dist.lock_all_vcpus()
        self.enabled = False
        self.cbaser = self.creadr = self.cwriter = 0
        self.basers = {
            kind: GITS_BASER.pack(**(GITS_BASER.unpack(baser) | {"Valid": 0})) for kind, baser in self.basers.items()
        }
        self.free_device_list()
        self.free_collection_list()

    def _cached_lpi(self, device_id: int, event_id: int) -> int | None:
        lpi = self.translation_cache.find(device_id, event_id)
        if lpi is None or self.dist.behaviour.cached_msis_stay_in_software or not self.dist.lpis.rows["hw"][lpi]:
            return lpi
        return None

    @property
    def queue_bytes(self) -> int:
        """The size of the command queue."""
        return queue_bytes(GITS_CBASER.unpack(self.cbaser))

    def _require_user_access(self, offset: int) -> None:
        _check_alignment(offset)
        self.dist.lock_all_vcpus()
        if self.base_address is None:
            raise KvmError("ENXIO", "the ITS has no base address yet")

    def _handlers(self) -> dict[str, VgicHandler]:
        constants = _IDENTIFICATION | {"GITS_TYPER": _TYPER} | {f"GITS_BASER{n}": 0 for n in range(2, BASERS)}
        return {name: handler(partial(int, value)) for name, value in constants.items()} | {
            "GITS_CTLR": handler(self._read_ctlr, self._write_ctlr),
            "GITS_IIDR": handler(self._read_iidr, user_write=self._user_write_iidr),
            "GITS_CBASER": handler(lambda: self.cbaser, self._write_cbaser),
            "GITS_CWRITER": handler(lambda: self.cwriter, self._write_cwriter),
            "GITS_CREADR": handler(lambda: self.creadr, user_write=self._user_write_creadr),
            "GITS_BASER0": self._baser_handler(TableType.DEVICES, self.free_device_list),
            "GITS_BASER1": self._baser_handler(TableType.COLLECTIONS, self.free_collection_list),
        }

    def _read_ctlr(self) -> int:
        return GITS_CTLR.pack(Enabled=self.enabled, Quiescent=self.creadr == self.cwriter)

    def _write_ctlr(self, value: int) -> None:
        enable = bool(GITS_CTLR.unpack(value)["Enabled"])
        queue_valid = GITS_CBASER.unpack(self.cbaser)["Valid"]
        if enable and not (self.device_table.valid and self.collection_table.valid and queue_valid):
            return
        self.enabled = enable
        if not enable:
            self.translation_cache.invalidate()
        self._process_commands()

    def _read_iidr(self) -> int:
        return GITS_IIDR.pack(Revision=self.abi_revision, **KVM)

    def _user_write_iidr(self, value: int) -> None:
        revision = GITS_IIDR.unpack(value)["Revision"]
        if revision >= _ABI_REVISIONS:
            raise KvmError("EINVAL", f"GITS_IIDR {value:#x}: there is no ITS table ABI revision {revision}")
        self.abi_revision = revision

    def _write_cbaser(self, value: int) -> None:
        if self.enabled:
            return
        fields = sanitise_attributes(GITS_CBASER.unpack(value))
        fields["Physical_Address"] -= fields["Physical_Address"] % QUEUE_ALIGNMENT
        self.cbaser = GITS_CBASER.pack(**fields) | value & _CBASER_RES0
        # The architecture resets CREADR only; KVM starts with an empty queue.
        self.creadr = self.cwriter = 0

    def _write_cwriter(self, value: int) -> None:
        offset = GITS_CWRITER.unpack(value)["Offset"]
        if offset < self.queue_bytes:
            self.cwriter = offset
            self._process_commands()

    def _user_write_creadr(self, value: int) -> None:
        if self.enabled:
            raise KvmError("EBUSY", "GITS_CREADR is read-only while the ITS is enabled")
        offset = GITS_CREADR.unpack(value)["Offset"]
        if offset >= self.queue_bytes:
            raise KvmError("EINVAL", f"GITS_CREADR: offset {offset:#x} is beyond the queue of {self.queue_bytes:#x}")
        self.creadr = offset

    def _baser_handler(self, kind: TableType, free: Callable[[], None]) -> VgicHandler:
        """That of the register of a table; `free` drops what is mapped in it. Collections are in a flat one."""

        def write(value: int) -> None:
            fields = GITS_BASER.unpack(value)
            baser = _baser(kind, fields | {"Indirect": fields["Indirect"] if kind is TableType.DEVICES else 0})
            if not self.enabled:
                if self._frees(self.basers[kind], baser):
                    free()
                self.basers[kind] = baser

        return handler(lambda: self.basers[kind], write)

    def _frees(self, old: int, new: int) -> bool:
        """Whether a write of GITS_BASER<n> drops what is mapped; a guest that resumes writes the old value again."""
        if self.dist.behaviour.baser_change_frees:
            return old != new
        return not GITS_BASER.unpack(new)["Valid"]

    def _process_commands(self) -> None:
        """Run the queue to its end; each command outside RAM is dropped (Linux `vgic_its_process_commands`)."""
        queue = GITS_CBASER.unpack(self.cbaser)["Physical_Address"]
        while self.enabled and self.creadr != self.cwriter:
            end = self.cwriter if self.cwriter > self.creadr else self.queue_bytes
            _, words = entries_inside(self.dist.memory, queue + self.creadr, (end - self.creadr) // ENTRY_BYTES)
            execute(self, words.reshape(-1, _COMMAND_WORDS))
            self.creadr = end % self.queue_bytes


def _check_alignment(offset: int) -> None:
    """KvmError EINVAL unless aligned to 8 bytes, or to 4 below GITS_TYPER and from the identification registers on."""
    alignment = 8 if _FIRST_64BIT <= offset < _FIRST_IDENTIFICATION else 4
    if offset % alignment:
        raise KvmError("EINVAL", f"register offset {offset:#x} is not aligned to {alignment} bytes")


def _baser(table_type: int, fields: dict[str, int]) -> int:
    """A GITS_BASER as KVM keeps it: its Type and Entry_Size are fixed, its pages always 64 KiB."""
    fixed = {"Type": table_type, "Entry_Size": ENTRY_BYTES - 1, "Page_Size": _PAGES_64K}
    return GITS_BASER.pack(**sanitise_attributes(fields | fixed))
