# SPDX-License-Identifier: Apache-2.0
"""The few IDs and addresses that generated commands use, so that commands meet each other.

Every field of a command has a pool of valid values, and one of boundary values: the first that is out of range, the
last that is in range, and values that only fit the field.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gicmodel.config import GicConfig
from gicmodel.lab.placement import Placement
from gicmodel.layouts.commands import COMMANDS, OPCODES
from gicmodel.layouts.its_tables import NO_DOORBELL
from gicmodel.layouts.lpi_tables import FIRST_LPI, VSGIS

Pool = tuple[int, ...]

_FLAGS = {"V": (1, 1, 1, 0), "Alloc": (1, 1, 1, 0), "PTZ": (0,)}
"""Pools of flags that are not as often 0 as 1: most commands should map something, and PTZ is a promise to be kept."""


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
    _pools: dict[str, Pool] = field(init=False, repr=False, compare=False)
    _boundaries: dict[str, Pool] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_pools", self._valid_pools())
        object.__setattr__(self, "_boundaries", self._boundary_pools())

    def valid(self, mnemonic: str, name: str) -> Pool:
        """Values of field `name` of a command that do not make it an error by themselves."""
        if (mnemonic, name) == ("VSGI", "vINTID"):
            return (0, 3, VSGIS - 1)
        return self._fitting(mnemonic, name, self._pools.get(name, _FLAGS.get(name, (0, 1))))

    def boundary(self, mnemonic: str, name: str) -> Pool:
        """Values at and beyond the limits of field `name`, as far as its bits can hold them."""
        return self._fitting(mnemonic, name, self._boundaries.get(name, ()))

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

    def _valid_pools(self) -> dict[str, Pool]:
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

    def _boundary_pools(self) -> dict[str, Pool]:
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

    def _fitting(self, mnemonic: str, name: str, pool: Pool) -> Pool:
        layout = COMMANDS(self.config.architecture).get(OPCODES[mnemonic], COMMANDS("4.1")[OPCODES[mnemonic]])
        widest = int(layout[name].mask) << int(layout[name].scale)
        return tuple(value for value in pool if value <= widest)


def universe_of(config: GicConfig, placement: Placement) -> Universe:
    """The IDs that the tables of a machine have room for, and the addresses that its software has set aside."""
    devices, collections, *vpes = placement.tables[0]
    return Universe(
        config,
        devices=devices.count,
        collections=config.hcc + collections.count,
        vpes=vpes[0].count if vpes else 0,
        itts=placement.itts,
        vpts=placement.vpts,
        vconfs=placement.vconfs,
        shared_itts=config.caching == "none",
    )


def _low_and_last(entries: int, bits: int, low: int) -> Pool:
    """The first `low` IDs of a table, and its last."""
    last = min(entries, 1 << bits) - 1
    return tuple(sorted({*range(min(low, last)), last}))


def _limits(entries: int, bits: int) -> Pool:
    """The first ID beyond a table, the first beyond the ID's width, and the widest that any field holds."""
    return (min(entries, 1 << bits), 1 << bits, (1 << 16) - 1, (1 << 32) - 1)
