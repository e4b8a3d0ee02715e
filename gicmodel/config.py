# SPDX-License-Identifier: Apache-2.0
"""What the architecture leaves open, as one frozen value: `GicConfig`.

Every field is a choice that real implementations make differently. The model never guesses: a rule that the
architecture calls IMPLEMENTATION DEFINED, or CONSTRAINED UNPREDICTABLE with several legal outcomes, is either a field
here or is fixed and listed below.

Fixed choices, where no public source states the rule
-----------------------------------------------------
* `VPT_size` holds the number of vINTID bits minus one (Linux and Arm's FVP agree; one hypervisor reads it as plain).
* `VMOVP.DB` = 1 replaces the default doorbell, 0 keeps it. `VMAPP.PTZ` counts only with `Alloc` = 1.
* GICv4.0 does not say when a VPT is read: one that is held stays so until VMAPP V=0, and vLPIs of a vPE that was lost
  without one (kexec) are those of the next with its VPT. In GICv4.1 VMAPP {V,Alloc} = {1,1} reads the VPT.
* In GICv4.0 a vPE that is resident on a redistributor to which it is not mapped (UNPREDICTABLE) sees its vLPIs there.
  QEMU and hardware tell only the redistributor that VMAPP or VMOVP has named; `lab.late` reports the residency.
* GICR_INVLPIR, GICR_INVALLR and GICR_VSGIR with a vPEID work on every redistributor whose table has the vPE, also
  outside the CommonLPIAff group of the one to which it is mapped (CONSTRAINED UNPREDICTABLE); in `lab.late` they
  have no effect there.
* In GICv4.1, VMAPP V=1 of a vPEID that this ITS has mapped, VMAPP V=0 of a resident vPE, and VMAPP {V,Alloc} = {0,1} of
  a vPE that another ITS still has mapped are command errors. In GICv4.0 a second VMAPP V=1 replaces the first (QEMU).
* MAPTI or VMAPTI over a valid ITE replaces it; the pending state of the interrupt it replaces stays where it is.
* MAPD V=0 leaves pending state alone; a MAPD with `Size` wider than `GITS_TYPER.ID_bits` is an error only with V=1.
* MOVI, VMOVI and DISCARD drop the configuration byte that is retained where the interrupt was: Linux sends no INV when
  the interrupt comes back.
* A default doorbell rings for an interrupt that is enabled and whose group was enabled at the last residency, when it
  becomes pending, or when an invalidation finds it pending and newly enabled.
* Register writes that the architecture calls UNPREDICTABLE are ignored: GITS_CBASER and GITS_BASER<n> while enabled or
  not quiescent, Enabled 0 to 1 while not quiescent, GICR_PROPBASER and GICR_PENDBASER with EnableLPIs = 1 or RWP = 1,
  EnableLPIs 0 to 1 with RWP = 1, a schedule or deschedule with GICR_VPENDBASER.Dirty = 1.
* vSGI state lives in the first KiB of the VPT (`layouts.lpi_tables`), so it survives VMAPP {V,Alloc} = {0,1} and back.
* There is one Security state (GICD_CTLR.DS = 1), no EL3, and no NMI; affinity routing and the system registers are
  always on. GICx_IGRPMODR, GICx_NSACR and GICx_INMIR are RAZ/WI. There are no extended PPIs and SPIs.
* A group that GICD_CTLR or the PE (ICC_IGRPEN<n>_EL1) has disabled holds back no interrupt of the other, and does not
  show in ICC_HPPIR<n>_EL1. A PE that sleeps is sent nothing. Of equal priorities the lowest INTID is first; of LPIs the
  redistributor compares all six bits of priority.
* An SPI for any PE (GICD_IROUTER<n>.Interrupt_Routing_Mode) goes to the first that is awake and has enabled its group.
* GICD_SETSPI_NSR and GICD_CLRSPI_NSR of a level-sensitive SPI move the same input as its line. What a write of
  GICx_ISPENDR has made pending is taken once, of a level-sensitive interrupt, too.
* ICC_SGI1R_EL1 makes SGIs of either group pending, ICC_SGI0R_EL1 and ICC_ASGI1R_EL1 those of Group 0 (as Linux' KVM).
* ICC_EOIR<n>_EL1 of the group that is not running, or of no interrupt, and ICC_DIR_EL1 with EOImode = 0 are ignored.
  ICC_BPR<n>_EL1 resets to its least value, 2 and 3.
* Of virtual interrupts of one priority the lowest vINTID is first, in a list register before vSGIs and vLPIs. An LPI in
  a list register has an active state, which its end deactivates whatever EOImode is (VirtualWriteEOIR of IHI0069).
* ICV_EOIR<n>_EL1 drops the most urgent active priority of either group, and is ignored while there is none; a list
  register is deactivated if it is of the group and of that priority. ICV_DIR_EL1 is ignored with EOImode = 0, and for
  LPIs. A list register with vINTID 1020 to 1023 is acknowledged without an active priority, and becomes invalid.
* ICV_CTLR_EL1.RSS and A3V, and ICH_VTR_EL2.A3V, are 1 as those of ICC_CTLR_EL1 are: a guest's SGIs go to its hypervisor
  with all bits of their affinity.
* ICH_HCR_EL2.DVIM and TSEI are not implemented; traps to EL2 are for the PE to take. ICH_VMCR_EL2 resets to the least
  binary points and zero.
* GICD_CTLR.nASSGIreq changes only if no group is enabled before or after the write (as Linux' KVM).
* Error numbers that no source gives follow 0x01·opcode·reason, see `kernels.errors`.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Literal, Self, TypeGuard, get_args, get_origin, get_type_hints

Architecture = Literal["3", "4.0", "4.1"]
ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)
"""The generations of the GIC architecture that have an ITS; GICv3 and GICv3.1 count as one."""

FRAME_BYTES = 0x1_0000
"""A register frame."""
FIRST_PPI, FIRST_SPI, MOST_SPIS = 16, 32, 960
"""INTIDs below 16 are SGIs, from 16 to 31 PPIs, from 32 to 1019 SPIs, and ITLinesNumber counts those in 32s."""
CPUS_PER_CLUSTER = 16
"""PEs that differ in Aff0 only."""
PRIORITY_BITS = 5
"""ICC_CTLR_EL1.PRIbits + 1."""
MOST_LIST_REGISTERS = 16
WAYS = 4
"""VPTs in a set of the cache that holds them."""
MOST_COMMANDS = (1 << 63) - 1
"""What one step may be told to execute: a signed word counts them."""
MOST_CACHED = 1 << 32
"""Bytes that pending bits and configuration bytes may take, so that any `GicConfig` can be built on any host."""

_RANGES: dict[str, tuple[int, int]] = {
    "its": (1, 16),
    "redistributors": (1, 512),
    "device_id_bits": (1, 24),
    "event_id_bits": (1, 24),
    "collection_id_bits": (1, 16),
    "vpe_id_bits": (1, 16),
    "intid_bits": (14, 24),
    "hcc": (0, 255),
    "spis": (0, MOST_SPIS),
    "list_registers": (1, MOST_LIST_REGISTERS),
    "maintenance_intid": (FIRST_PPI, FIRST_SPI - 1),
    "svpet": (0, 3),
    "common_lpi_aff": (0, 3),
    "vpt_cache_sets": (1, 1 << 16),
    "table_cache_lines": (1, 1 << 24),
    "redistributor_base": (0, (1 << 52) - (512 << 18)),
}


@dataclass(frozen=True, kw_only=True)
class GicConfig:
    """The implementation choices of one `Gic`. Raises ValueError for a value the model cannot be built with."""

    architecture: Architecture = "4.1"
    """Which commands, registers and layouts exist; `GITS_TYPER` and `GICR_TYPER` follow from it."""

    its: int = 1
    """Number of ITSs. ITS n answers to `GITS_CTLR.ITS_Number` n."""

    redistributors: int = 4
    """Number of redistributors, each with one PE. Redistributor n has affinity 0.0.n/16.n%16 and Processor_Number n."""

    command_errors: Literal["ignore", "stall"] = "stall"
    """What a command with bad parameters does; both are permitted. An external abort always stalls the queue."""

    caching: Literal["none", "retain"] = "none"
    """`retain` keeps every table entry and configuration byte until the architecture obliges the GIC to drop it."""

    vpt_writeback: Literal["unmap", "deschedule", "immediate"] = "unmap"
    """When pending bits held by the redistributor reach the VPT in RAM. Only VMAPP {V,Alloc} = {0,1} is guaranteed.
    In GICv4.0 nothing is: with `unmap` a GICv4.0 model drops what it holds when the vPE is unmapped."""

    pending_writeback: Literal["disable", "immediate"] = "disable"
    """The same choice for LPI pending tables: `disable` is GICR_CTLR.EnableLPIs 1 to 0."""

    individual_doorbell: Literal["edge", "every"] = "edge"
    """Whether an individual doorbell rings when its vLPI becomes pending, or for every event (QEMU)."""

    discard_unmapped: Literal["remove", "refuse"] = "remove"
    """What DISCARD does with an event whose collection or vPE is not mapped; QEMU refuses and keeps the ITE."""

    commands_per_step: int | None = None
    """`None`: a CWRITER write runs the queue to its end. Otherwise how many commands one `Gic.step` executes."""

    device_id_bits: int = 16
    event_id_bits: int = 16
    collection_id_bits: int = 16
    vpe_id_bits: int = 16
    """Width of vPEIDs; `GICD_TYPER2.VID` + 1. GICv4.0 has no such register, and Linux takes 16 there: fewer are for
    software that has been told."""

    intid_bits: int = 16
    """Width of physical and virtual INTIDs; `GICD_TYPER.IDbits` + 1."""

    baser_page_bytes: int = 0x1000
    """The page size that GITS_BASER<n>.Page_Size of a table says at reset, where it is UNKNOWN; QEMU's says 64 KiB."""

    pta: bool = False
    """GITS_TYPER.PTA: RDbase is a redistributor's address (True) or its Processor_Number."""

    vmovp: bool = True
    """GITS_TYPER.VMOVP: one VMOVP on any ITS moves the vPE for all of them."""

    svpet: int = 1
    """GITS_TYPER.SVPET: affinity levels that share GITS_BASER2's table with GICR_VPROPBASER (0: not shared)."""

    common_lpi_aff: int = 1
    """GICR_TYPER.CommonLPIAff: affinity levels that share LPI and vPE configuration tables."""

    nid: bool = True
    """GITS_TYPER.nID (GICv4.1): individual doorbells are *not* supported."""

    seis: bool = False
    """GITS_TYPER.SEIS. The model has no SEI; the bit is only reported."""

    inv: bool = True
    """GITS_TYPER.INV: nothing of a table is cached once it is invalid. The model always keeps this promise."""

    mpam: bool = False
    """GITS_TYPER.MPAM and GICR_TYPER.MPAM: the partition registers exist. What they hold has no effect."""

    umsi: bool = True
    """GITS_TYPER.UMSI: a message that cannot be translated is reported in GITS_STATUSR and GITS_UMSIR."""

    direct_lpi: bool = True
    """GICR_TYPER.DirectLPI: GICR_SETLPIR and GICR_CLRLPIR exist, and the invalidation registers before GICv4.1 too."""

    ces: bool = True
    """GICR_CTLR.CES: EnableLPIs can be cleared. Without it EnableLPIs, once set, stays 1 (kexec finds LPIs enabled)."""

    hcc: int = 0
    """GITS_TYPER.HCC: collections below it are held in the ITS, unmapped at reset."""

    spis: int = 288
    """Number of SPIs, from INTID 32 on: a multiple of 32, GICD_TYPER.ITLinesNumber * 32."""

    list_registers: int = 4
    """Number of ICH_LR<n>_EL2; ICH_VTR_EL2.ListRegs + 1."""

    maintenance_intid: int = 25
    """The PPI of a PE's maintenance interrupt, which its CPU interface drives (25 in BSA)."""

    redistributor_base: int = 0x080A_0000
    """Physical address of redistributor 0's RD_base; the others follow. RDbase values refer to it when `pta`."""

    vpt_cache_sets: int = 256
    """Sets of the four-way cache that holds VPTs, one VPT a way. A conflict writes the older VPT back and drops it."""

    table_cache_lines: int = 1 << 14
    """Lines of the direct-mapped cache of table entries that `caching="retain"` uses."""

    def __post_init__(self) -> None:
        for field in fields(self):
            _check(field.name, getattr(self, field.name), isinstance(field.default, bool))
        if self.redistributor_base % FRAME_BYTES:
            raise ValueError(f"GicConfig.redistributor_base is {self.redistributor_base:#x}: not a frame's address")
        if self.spis % 32:
            raise ValueError(f"GicConfig.spis is {self.spis}: not a multiple of 32")
        if self.hcc > 1 << self.collection_id_bits:
            most = 1 << self.collection_id_bits
            raise ValueError(f"GicConfig.hcc is {self.hcc}: ICIDs of {self.collection_id_bits} bits are only {most}")
        budget = self.commands_per_step
        if budget is not None and not (_is_whole(budget) and 1 <= budget <= MOST_COMMANDS):
            raise ValueError(
                f"GicConfig.commands_per_step is {budget!r}: None, or a whole number from 1 to {MOST_COMMANDS}"
            )
        if self.cache_bytes > MOST_CACHED:
            raise ValueError(
                f"GicConfig.vpt_cache_sets is {self.vpt_cache_sets}: with {self.redistributors} redistributors, "
                f"INTIDs of {self.intid_bits} bits and caching={self.caching!r} the caches take "
                f"{self.cache_bytes:#x} bytes, more than {MOST_CACHED:#x}"
            )

    @classmethod
    def qemu(cls, architecture: Architecture = "4.0", **choices: object) -> Self:
        """The choices of QEMU's `virt` machine (hw/intc/arm_gicv3_its.c): for replay and comparison."""
        profile: dict[str, object] = {
            "architecture": architecture,
            "command_errors": "ignore",
            "caching": "none",
            "vpt_writeback": "immediate",
            "pending_writeback": "immediate",
            "individual_doorbell": "every",
            "discard_unmapped": "refuse",
            "baser_page_bytes": 0x1_0000,
            "inv": False,
            "umsi": False,
            "direct_lpi": False,
            "spis": 256,
        }
        return cls(**(profile | choices))  # type: ignore[arg-type]

    @classmethod
    def of_choices(cls, choices: Iterable[str], **given: object) -> Self:
        """The configuration of FIELD=VALUE, over what is `given`. Raises ValueError for what there is not."""
        defaults = {field.name: field.default for field in fields(cls)}
        for choice in choices:
            name, equals, text = choice.partition("=")
            if not equals or name not in defaults:
                raise ValueError(f"{choice}: FIELD=VALUE, with FIELD one of {', '.join(sorted(defaults))}")
            given[name] = _value(defaults[name], text)
        return cls(**given)  # type: ignore[arg-type]

    @property
    def choices(self) -> list[str]:
        """What `of_choices` makes it again of."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return [f"{name}={str(value).lower()}" for name, value in values.items()]

    @property
    def virtual(self) -> bool:
        """GITS_TYPER.Virtual: the architecture has vLPIs."""
        return self.architecture != "3"

    @property
    def v41(self) -> bool:
        """GITS_TYPER.VMAPP, which is how software tells GICv4.1."""
        return self.architecture == "4.1"

    @property
    def arch_rev(self) -> int:
        """PIDR2.ArchRev: the major version; GICv4.1 has that of GICv4.0."""
        return int(self.architecture[0])

    @property
    def invalidation_registers(self) -> bool:
        """GICR_CTLR.IR: GICR_INVLPIR, GICR_INVALLR and GICR_SYNCR exist; always in GICv4.1."""
        return self.v41 or self.direct_lpi

    @property
    def cache_slots(self) -> int:
        """How many pending tables are held: one of each redistributor, and the cache of VPTs."""
        return self.redistributors + WAYS * power_of_two(self.vpt_cache_sets)

    @property
    def cache_bytes(self) -> int:
        """Bytes of the pending bits and configuration bytes that may be held."""
        intids = 1 << self.intid_bits
        return self.cache_slots * (intids // 8 + (intids if self.caching == "retain" else 0))

    @property
    def redistributor_stride(self) -> int:
        """Bytes from one RD_base to the next: four 64 KiB frames with VLPIS, else two (DDI0601)."""
        return (4 if self.virtual else 2) * FRAME_BYTES

    def redistributor_frames(self, number: int) -> int:
        """The address of RD_base of a redistributor."""
        return self.redistributor_base + number * self.redistributor_stride

    def rdbase(self, number: int) -> int:
        """What names a redistributor in a command, as GITS_TYPER.PTA has it."""
        return self.redistributor_frames(number) // FRAME_BYTES if self.pta else number


CHOICES: dict[str, tuple[object, ...]] = {
    name: get_args(hint) for name, hint in get_type_hints(GicConfig).items() if get_origin(hint) is Literal
} | {"baser_page_bytes": (0x1000, 0x4000, 0x1_0000)}
"""The values of each field that has only a few."""


def affinity_of(number: int) -> int:
    """The affinity of redistributor `number` and its PE, as MPIDR_EL1 has it: Aff1 in bits [15:8], Aff0 in [7:0]."""
    aff1, aff0 = divmod(number, CPUS_PER_CLUSTER)
    return aff1 << 8 | aff0


def power_of_two(number: int) -> int:
    """The smallest power of two that is not below a number from 1."""
    return 1 << (number - 1).bit_length()


def _value(default: object, text: str) -> object:
    """A value as the field's own are; what is none stays text, for GicConfig to say what is wrong with it."""
    if isinstance(default, bool):
        return {"true": True, "false": False}.get(text, text)
    if default is None and text == "none":
        return None
    with suppress(ValueError):
        return int(text, 0) if isinstance(default, int) or default is None else text
    return text


def _check(name: str, value: object, truth: bool) -> None:
    if truth and not isinstance(value, bool):
        raise ValueError(f"GicConfig.{name} is {value!r}: True or False")
    if name in CHOICES and value not in CHOICES[name]:
        raise ValueError(f"GicConfig.{name} is {value!r}: one of {', '.join(map(repr, CHOICES[name]))}")
    if name in _RANGES:
        low, high = _RANGES[name]
        if not (_is_whole(value) and low <= value <= high):
            raise ValueError(f"GicConfig.{name} is {value!r}: a whole number from {low} to {high}")


def _is_whole(value: object) -> TypeGuard[int]:
    """Whether this is a whole number; a truth value is none."""
    return isinstance(value, int) and not isinstance(value, bool)
