# SPDX-License-Identifier: Apache-2.0
"""The VMs whose flushes `gicmodel flush` measures, and what it found of each; no kernel comes with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, NamedTuple, get_args

from gicmodel.benchmarks.harness import Spread
from gicmodel.config import Architecture

VECTORS = 128
SpreadName = Literal["in-turn", "runs", "random"]
SPREADS: tuple[SpreadName, ...] = get_args(SpreadName)
PARTS = ("unmap", "clean", "tables", "map", "read")
"""`clean` is what of `unmap` the GIC takes, `read` what of `map`; the rest is the driver's. GICv3 has only `tables`."""
MEASURED = ("whole", *PARTS, "loop", "memcpy")
"""The whole flush, its parts, KVM's loop in place of the batch in an otherwise equal flush, and memcpy of as much."""


class FlushPoint(NamedTuple):
    """One VM: `pending` of its vLPIs are, `spread` says to which vCPUs they go."""

    vcpus: int
    vlpis: int
    vpt_bits: int
    pending: float
    spread: SpreadName
    writeback: Literal["unmap", "deschedule", "immediate"]
    architecture: Architecture
    caching: Literal["none", "retain"]


@dataclass(frozen=True)
class Flush:
    """The seconds of each of MEASURED at a point. `peak_bytes` as of `report.Outcome`."""

    point: FlushPoint
    seconds: dict[str, Spread]
    table_bytes: int
    peak_bytes: int | None

    @property
    def vlpis_per_second(self) -> float:
        """At the median."""
        return self.point.vlpis / self.seconds["whole"].median

    @property
    def bytes_per_second(self) -> float:
        """Of the guest's tables, at the median."""
        return self.table_bytes / self.seconds["whole"].median

    def to_json(self) -> dict[str, Any]:
        """A document; times in seconds a flush."""
        return {
            **self.point._asdict(),
            "table_bytes": self.table_bytes,
            "seconds": {name: spread._asdict() for name, spread in self.seconds.items()},
            "vlpis_per_second": self.vlpis_per_second,
            "bytes_per_second": self.bytes_per_second,
            "peak_bytes": self.peak_bytes,
        }


def devices_of(vlpis: int) -> tuple[int, int]:
    """How many devices have so many vLPIs, and of how many vectors: 128 each, or one device with fewer. ValueError."""
    vectors = min(VECTORS, vlpis)
    if vlpis % vectors:
        raise ValueError(f"{vlpis} vLPIs: more than {VECTORS} must be a multiple of it, the vectors of a device")
    return vlpis // vectors, vectors


def points(**values: Sequence[Any]) -> list[FlushPoint]:
    """Every combination of the values of the fields of `FlushPoint`, the last one changing first."""
    return [FlushPoint(*chosen) for chosen in product(*(values[field] for field in FlushPoint._fields))]


def varying(chosen: Sequence[FlushPoint]) -> list[str]:
    """The fields in which VMs differ."""
    return [field for field in FlushPoint._fields if len({getattr(point, field) for point in chosen}) > 1]
