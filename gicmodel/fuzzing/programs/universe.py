# SPDX-License-Identifier: Apache-2.0
"""The few IDs and addresses that generated commands use, so that commands meet each other.

Every field of a command has a pool of valid values, and one of boundary values: the first that is out of range, the
last that is in range, and values that only fit the field.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import cycle, islice
from typing import Self

from gicmodel.config import GicConfig
from gicmodel.fuzzing.programs.program import CommandWords
from gicmodel.lab.placement import Placement
from gicmodel.layouts.commands import COMMANDS, OPCODES, decode_command, encode
from gicmodel.layouts.its_tables import NO_DOORBELL
from gicmodel.layouts.layout import Layout
from gicmodel.layouts.lpi_tables import FIRST_LPI, VSGIS
from gicmodel.layouts.registers.redistributor import GICR_VPENDBASER
from gicmodel.spec.state import Command

Pool = tuple[int, ...]

_FLAGS = {"V": (1, 1, 1, 0), "Alloc": (1, 1, 1, 0), "PTZ": (0,)}
"""Pools of flags that are not as often 0 as 1: most commands should map something, and PTZ is a promise to be kept."""
CONFIGURATION_BYTES = (0xA3, 0xA2, 0x13, 0xFF, 0xA1)
"""Mostly enabled: what is disabled never gets far."""
_UNMAPPED_DEVICE = 7
_VSGIS = (0, 3, VSGIS - 1)
_NARROW_VPT_BITS = 14
_LAST_VPEID = int(GICR_VPENDBASER["vPEID"].mask)


@dataclass(frozen=True)
class Universe:
    """What generated commands talk about.

    `devices`, `collections` and `vpes` are how many IDs the ITS tables hold. Each of `itts` is an ITT with room for
    every EventID; each of `vpts` is a VPT for one vPEID of the pool; `vconfs` are vLPI configuration tables.

    `shared_itts`: two devices may get one ITT. Then hardware that retains ITEs need not see what another device's
    commands do to them.
    """

    config: GicConfig
    devices: int = 512
    collections: int = 512
    vpes: int = 128
    itts: Pool = (0x8800_0000, 0x8810_0000, 0x8820_0000)
    vpts: Pool = (0x8900_0000, 0x8901_0000, 0x8902_0000)
    vconfs: Pool = (0x8A00_0000, 0x8A01_0000)
    shared_itts: bool = True

    @classmethod
    def of(cls, config: GicConfig, placement: Placement) -> Self:
        """The IDs that the tables of a machine have room for, and the addresses that its software has set aside."""
        devices, collections, *vpes = placement.tables[0]
        return cls(
            config,
            devices=devices.count,
            collections=config.hcc + collections.count,
            vpes=vpes[0].count if vpes else 0,
            itts=placement.itts,
            vpts=placement.vpts,
            vconfs=placement.vconfs,
            shared_itts=config.caching == "none",
        )

    @property
    def mnemonics(self) -> list[str]:
        """The commands that the architecture has, in alphabetical order."""
        known = COMMANDS(self.config.architecture)
        return sorted(mnemonic for mnemonic, opcode in OPCODES.items() if opcode in known)

    def fields(self, mnemonic: str) -> list[str]:
        """The fields of a command that may be drawn."""
        return [name for name in self._layout(mnemonic).fields if name != "Opcode"]

    def reserved_bits(self, mnemonic: str) -> CommandWords:
        """The RES0 bits of a command's four words, which hardware must not look at."""
        masks = dict(self._layout(mnemonic).res0_masks)
        return tuple(masks.get(word, 0) for word in range(4))

    def valid(self, mnemonic: str, name: str) -> Pool:
        """Values of field `name` of a command that do not make it an error by themselves."""
        if (mnemonic, name) == ("VSGI", "vINTID"):
            return _VSGIS
        return self._fitting(mnemonic, name, self._pools.get(name, _FLAGS.get(name, (0, 1))))

    def boundary(self, mnemonic: str, name: str) -> Pool:
        """Values at and beyond the limits of field `name`, as far as its bits can hold them."""
        return self._fitting(mnemonic, name, self._boundaries.get(name, ()))

    def tied(self, mnemonic: str) -> dict[str, Pool]:
        """Fields of a command that go together, the first of which says where in their pools the others' values are.

        Two vPEs with one VPT are not what software does; two devices with one ITT are, unless ITEs are retained.
        """
        if mnemonic == "VMAPP":
            vconfs = {"VCONF_addr": tuple(islice(cycle(self.vconfs), len(self.vpeids)))} if self.config.v41 else {}
            return {"vPEID": self.vpeids, "VPT_addr": self.vpts, **vconfs}
        if mnemonic == "MAPD" and not self.shared_itts:
            return {"DeviceID": self.device_ids, "ITT_addr": self.itts}
        return {}

    def tie(self, mnemonic: str, fields: dict[str, int]) -> Command:
        """A command with these fields, of which those that are `tied` go together."""
        if tied := self.tied(mnemonic):
            first = next(iter(tied))
            place = tied[first].index(fields[first])
            fields = fields | {name: pool[place] for name, pool in tied.items()}
        return mnemonic, fields

    def mapping_commands(self, alloc: bool = True) -> list[Command]:
        """Commands that map every device, collection and vPE of the universe, and two events of each device.

        `alloc`: this is the first ITS that maps the vPEs (GICv4.1).
        """
        devices = [
            {"DeviceID": device, "Size": self.config.event_id_bits - 1, "ITT_addr": itt, "V": 1}
            for device, itt in zip(self.device_ids, self.itts, strict=False)
        ]
        collections = [
            {"ICID": icid, "RDbase": self.config.rdbase(index % self.config.redistributors), "V": 1}
            for index, icid in enumerate(self.icids)
        ]
        events = [
            {"DeviceID": device, "EventID": 0, "pINTID": FIRST_LPI + index, "ICID": self.icids[index % 2]}
            for index, device in enumerate(self.device_ids)
        ]
        physical = [("MAPD", each) for each in devices] + [("MAPC", each) for each in collections]
        return physical + [("MAPTI", each) for each in events] + self._mapping_vpes(alloc)

    def of_event(self, name: str) -> Pool:
        """Values of a field of an event, in range or hardly out of it; none of a flag."""
        return self._events.get(name, ())

    @property
    def device_ids(self) -> Pool:
        return _low_and_last(self.devices, self.config.device_id_bits, 2)

    @property
    def icids(self) -> Pool:
        return _low_and_last(self.collections, self.config.collection_id_bits, 2)

    @property
    def vpeids(self) -> Pool:
        return _low_and_last(self.vpes, self.config.vpe_id_bits, len(self.vpts) - 1)

    @property
    def intids(self) -> Pool:
        """LPIs and vLPIs: the first ones, the last of the narrowest tables, and the last of all."""
        last = (1 << self.config.intid_bits) - 1
        return tuple(dict.fromkeys((FIRST_LPI, FIRST_LPI + 1, FIRST_LPI + 64, (1 << 14) - 1, last)))

    @cached_property
    def _pools(self) -> dict[str, Pool]:
        config = self.config
        bases = tuple(config.rdbase(number) for number in range(config.redistributors))
        doorbells = (NO_DOORBELL, FIRST_LPI, FIRST_LPI + 2)
        has_individual = config.architecture == "4.0" or not config.nid
        return {
            "DeviceID": self.device_ids,
            "EventID": tuple(event for event in (0, 1, 3, FIRST_LPI) if event < 1 << config.event_id_bits),
            "ICID": self.icids,
            "vPEID": self.vpeids,
            "pINTID": self.intids,
            "vINTID": self.intids,
            "RDbase": bases,
            "RDbase2": bases,
            "Size": tuple(size for size in (1, 3, config.event_id_bits - 1) if size < config.event_id_bits),
            "ITT_addr": self.itts,
            "VPT_addr": self.vpts,
            "VCONF_addr": self.vconfs,
            "VPT_size": tuple(sorted({13, config.intid_bits - 1})),
            "Default_Doorbell": doorbells,
            "Doorbell": doorbells if has_individual else (NO_DOORBELL,),
            "Priority": (0, 0xA, 0xF),
        }

    @cached_property
    def _boundaries(self) -> dict[str, Pool]:
        config = self.config
        outside = (config.redistributors, 0x1_0000, (1 << 36) - 1)
        bases = (*outside, config.rdbase(config.redistributors), config.rdbase(0) + 1) if config.pta else outside
        events = 1 << config.event_id_bits
        lpis = 1 << config.intid_bits
        intids = (0, NO_DOORBELL, FIRST_LPI - 1, lpis - 1, lpis, lpis + FIRST_LPI, (1 << 32) - 1)
        return {
            "DeviceID": _limits(self.devices, config.device_id_bits),
            "EventID": (2, 15, 16, events - 1, events, (1 << 32) - 1),
            "ICID": _limits(self.collections, config.collection_id_bits),
            "vPEID": _limits(self.vpes, config.vpe_id_bits),
            "pINTID": intids,
            "vINTID": intids,
            "RDbase": bases,
            "RDbase2": bases,
            "Size": (0, config.event_id_bits, 31),
            "VPT_size": (0, 12, config.intid_bits, 31, 32 + 15, 255),
            "Default_Doorbell": intids,
            "Doorbell": intids,
        }

    @cached_property
    def _events(self) -> dict[str, Pool]:
        config, vpeids = self.config, self.vpeids
        return {
            "its": tuple(range(config.its)),
            "rd": tuple(range(config.redistributors)),
            "itt": tuple(range(len(self.itts))),
            "vpt": tuple(range(len(self.vpts))),
            "vconf": tuple(range(len(self.vconfs))),
            "DeviceID": (*self.device_ids, *self.device_ids, _UNMAPPED_DEVICE, self.devices),
            "EventID": (0, 0, 1, 1, 3, FIRST_LPI, 1 << config.event_id_bits),
            # The first out of range, if a register can name it.
            "vPEID": (*vpeids, *vpeids, min(self.vpes, _LAST_VPEID)),
            "vSGI": _VSGIS,
            "INTID": (*self.intids, *self.intids, FIRST_LPI - 1, 1 << config.intid_bits),
            "LPI": self.intids,
            "byte": CONFIGURATION_BYTES,
            "bits": (_NARROW_VPT_BITS, 16),
            "Default_Doorbell": (NO_DOORBELL, FIRST_LPI + 2),
        }

    def _mapping_vpes(self, alloc: bool) -> list[Command]:
        config = self.config
        if not config.virtual:
            return []
        size = {"V": 1, "VPT_size": config.intid_bits - 1}
        if config.v41:
            size |= {"Alloc": int(alloc), "Default_Doorbell": FIRST_LPI + 2}
        vpes = [
            {"vPEID": vpeid, "RDbase": config.rdbase(index % config.redistributors), **size}
            for index, vpeid in enumerate(self.vpeids)
        ]
        events = [
            {"DeviceID": device, "EventID": 1, "vINTID": FIRST_LPI + index, "vPEID": vpeid, "Doorbell": NO_DOORBELL}
            for index, (device, vpeid) in enumerate(zip(self.device_ids, self.vpeids, strict=False))
        ]
        return [self.tie("VMAPP", vpe) for vpe in vpes] + [("VMAPTI", event) for event in events]

    def _layout(self, mnemonic: str) -> Layout:
        return COMMANDS(self.config.architecture)[OPCODES[mnemonic]]

    def _fitting(self, mnemonic: str, name: str, pool: Pool) -> Pool:
        field = self._layout(mnemonic)[name]
        widest = int(field.mask) << int(field.scale)
        return tuple(value for value in pool if value <= widest)


def words(command: Command, architecture: str) -> CommandWords:
    """The four words of a command."""
    mnemonic, fields = command
    return encode(mnemonic, architecture, **fields)


@lru_cache(maxsize=1 << 16)
def command_of(encoded: CommandWords, architecture: str) -> Command:
    """What four words mean; an unknown opcode has its number as mnemonic. Nine of ten have been here before."""
    opcode = encoded[0] & 0xFF
    if opcode not in COMMANDS(architecture):
        return hex(opcode), {}
    return decode_command(encoded, architecture)


def _low_and_last(entries: int, bits: int, low: int) -> Pool:
    """The first `low` IDs of a table, and its last."""
    last = min(entries, 1 << bits) - 1
    return tuple(sorted({*range(min(low, last)), last}))


def _limits(entries: int, bits: int) -> Pool:
    """The first ID beyond a table, the first beyond the ID's width, and the widest that any field holds."""
    return (min(entries, 1 << bits), 1 << bits, (1 << 16) - 1, (1 << 32) - 1)
