# SPDX-License-Identifier: Apache-2.0
"""Where `gicmodel.kvm` and Linux may differ, each with its reason; everything else is a finding."""

from __future__ import annotations

from typing import NamedTuple

from gicmodel.fuzzing.programs.program import CommandStep, Event, Step
from gicmodel.layouts.commands import COMMANDS
from gicmodel.layouts.lpi_tables import VSGIS
from gicmodel.layouts.registers.by_name import register


class Explained(NamedTuple):
    """Results of a command, or of an event's verb, that may differ. `parts`: so does all that follows, until a boot."""

    step: str
    linux: object
    model: object
    reason: str
    parts: bool = False


RESULTS = (
    *(
        Explained(
            mnemonic,
            "E_ITS_MAPC_COLLECTION_OOR",
            "EINVAL",
            "vgic_its_alloc_collection; KVM drops the command, and nobody sees what for. RESTORE_TABLES, which is seen,"
            " says EINVAL to the same collection.",
        )
        for mnemonic in ("MAPC", "MAPTI", "MAPI")
    ),
    Explained(
        "unforward",
        "WARNING",
        "OK",
        "kvm_vgic_v4_unset_forwarding before 6.16 warns when the route of a host interrupt leads to an LPI that it does"
        " not feed, and goes on. The model has no kernel log.",
    ),
    Explained(
        "forward",
        "OK",
        "EINVAL",
        "its_vlpi_map lets a host interrupt that is a vLPI still, and of which KVM does not know that any more (before"
        " 6.12), become another one. The model's driver refuses it: its ITS has no VMOVI that changes the vINTID.",
        parts=True,
    ),
    Explained(
        "MOVI",
        "EINVAL",
        "OK",
        "update_affinity of an LPI that KVM, before 6.16, takes for forwarded when it is not any more. The event has"
        " moved on both sides, and nobody sees what a command comes to.",
    ),
)
UNQUEUED_SGIS = Explained(
    "take",
    "fewer SGIs",
    "more SGIs",
    "Linux queues an SGI when it is made pending or enabled, and not when GICD_CTLR is. The model has no ap_list of"
    " SGIs: one that comes while the distributor is disabled is delivered as soon as it is enabled.",
    parts=True,
)

_BITS_OF_PPIS = frozenset(
    register(f"GICR_{name}").offset for name in ("IGROUPR0", "ISENABLER0", "ICENABLER0", "ISPENDR0", "ICPENDR0")
)
_SGIS = (1 << VSGIS) - 1
_READS, _WRITES = ("rd_read", "rd_user_read"), ("rd_write", "rd_user_write")


def name(step: Step) -> str:
    """A command's mnemonic, or the number of an unknown opcode; an event's verb."""
    if isinstance(step, CommandStep):
        opcode = step.words[0] & 0xFF
        return COMMANDS("4.1")[opcode].name if opcode in COMMANDS("4.1") else hex(opcode)
    return step.verb


def explained(step: Step, linux: object, model: object) -> Explained | None:
    """The one of `RESULTS` that these results are, if any; `UNQUEUED_SGIS` are no two values."""
    if isinstance(linux, list) and isinstance(model, list) and name(step) == "take":
        waiting = {intid for intid in model if intid >= VSGIS or intid in linux}
        return UNQUEUED_SGIS if set(linux) == waiting else None
    return next((each for each in RESULTS if (each.step, each.linux, each.model) == (name(step), linux, model)), None)


def without_ppis(step: Step) -> Step:
    """The step with the bits of PPIs 0, of which the model's redistributors have none."""
    if isinstance(step, CommandStep) or step.verb not in _WRITES or step.values[1] not in _BITS_OF_PPIS:
        return step
    rd, offset, value, *size = step.values
    return Event(step.verb, (rd, offset, value & _SGIS, *size))


def seen(step: Step, result: object) -> object:
    """What is compared of a result: a register's bits of PPIs are not."""
    of_ppis = isinstance(step, Event) and step.verb in _READS and step.values[1] in _BITS_OF_PPIS
    return result & _SGIS if of_ppis and isinstance(result, int) else result
