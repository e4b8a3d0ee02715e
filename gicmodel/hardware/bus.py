# SPDX-License-Identifier: Apache-2.0
"""The physical address map of a GIC: what a CPU, a device, a trace or a debugger reads and writes, by address."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

from gicmodel.config import FRAME_BYTES, GicConfig
from gicmodel.errors import whole
from gicmodel.layouts.registers.by_name import RegisterFrame
from gicmodel.memory import ADDRESS_BITS, ExternalAbort

DISTRIBUTOR_BASE = 0x0800_0000
"""Where QEMU's `virt` machine has its distributor (hw/arm/virt.c), below `GicConfig.redistributor_base`."""


class ItsFrames(RegisterFrame, Protocol):
    """The registers of an ITS; `device_id` says who writes GITS_TRANSLATER."""

    def write(self, offset: int, value: int, size: int, *, device_id: int = 0) -> None: ...


class Faces(Protocol):
    """The registers of a GIC: a `Gic`, or what stands before one."""

    @property
    def config(self) -> GicConfig: ...

    @property
    def distributor(self) -> RegisterFrame: ...

    @property
    def redistributors(self) -> Sequence[RegisterFrame]: ...

    @property
    def its(self) -> Sequence[ItsFrames]: ...


class Region(NamedTuple):
    """The frames of one distributor, redistributor or ITS: GICD, GICR0.. or GITS0.., `size` bytes from `base` on.

    `its`: the same face, if it is an ITS's.
    """

    base: int
    size: int
    name: str
    face: RegisterFrame
    its: ItsFrames | None = None


class AddressSpace(Protocol):
    """Anything that takes accesses at physical addresses: a `Bus`, or another machine's."""

    def read(self, address: int, size: int) -> int: ...

    def write(self, address: int, value: int, size: int) -> None: ...


class Bus:
    """The register frames of a GIC at physical addresses.

    The distributor is at `distributor_base`, the redistributors are where `GicConfig.redistributor_base` says, and the
    ITSs lie one after another from `its_base` on; without one, behind the last redistributor. An ITS has its control
    and translation frames, and in GICv4.1 the vSGI frame.

    An access reaches its register as wide as it comes: whoever has cut one in two joins it before. What the
    architecture does not allow (a reserved location, a wrong width, a write of a read-only register) reads as zero, is
    ignored, and is noted in STATUSR where the frame has that register. What no bus brings (an access of other than 1,
    2, 4 or 8 bytes, a value that has not 64 bits) is a ValueError.

    Raises:
        ValueError: a base is not a multiple of 64 KiB or no physical address, or frames overlap.
    """

    def __init__(self, gic: Faces, *, distributor_base: int = DISTRIBUTOR_BASE, its_base: int | None = None) -> None:
        config = gic.config
        stride = config.redistributor_stride
        first_its = config.redistributor_frames(config.redistributors) if its_base is None else its_base
        its_bytes = (3 if config.v41 else 2) * FRAME_BYTES
        gicr = (
            Region(config.redistributor_frames(n), stride, f"GICR{n}", face)
            for n, face in enumerate(gic.redistributors)
        )
        gits = (Region(first_its + n * its_bytes, its_bytes, f"GITS{n}", its, its) for n, its in enumerate(gic.its))
        self.regions = sorted([Region(distributor_base, FRAME_BYTES, "GICD", gic.distributor), *gicr, *gits])
        """All frames, in the order of their addresses."""
        self._bases = [region.base for region in self.regions]
        self._check()

    def base(self, name: str) -> int:
        """Where the frames of "GICD", "GICR0".., "GITS0".. begin. KeyError: there are none of that name."""
        return {region.name: region.base for region in self.regions}[name]

    def read(self, address: int, size: int) -> int:
        """What a read of `size` bytes (1, 2, 4 or 8) returns. ExternalAbort: not all of them are in one's frames."""
        region = self.region(address, size)
        return region.face.read(address - region.base, size)

    def write(self, address: int, value: int, size: int, *, device_id: int = 0) -> None:
        """A write of the low `size` bytes (1, 2, 4 or 8) of `value`; ExternalAbort as of `read`.

        `device_id` is what the system says that the writer is, for GITS_TRANSLATER; no other register looks at it.
        """
        region = self.region(address, size)
        if region.its is not None:
            region.its.write(address - region.base, value, size, device_id=device_id)
        else:
            region.face.write(address - region.base, value, size)

    def region(self, address: int, size: int) -> Region:
        """The frames in which all of an access lies. ExternalAbort: there are none."""
        region = self.regions[bisect_right(self._bases, address) - 1]
        if not region.base <= address <= region.base + region.size - size:
            raise ExternalAbort(address, size)
        return region

    def _check(self) -> None:
        for region in self.regions:
            if region.base % FRAME_BYTES:
                raise ValueError(f"Bus: {region.name} at {region.base:#x} is not at a multiple of {FRAME_BYTES:#x}")
            whole(region.base, f"Bus: the address of {region.name}", 0, (1 << ADDRESS_BITS) - region.size)
        for before, after in pairwise(self.regions):
            if after.base < before.base + before.size:
                raise ValueError(f"Bus: {after.name} at {after.base:#x} lies in the frames of {before.name}")


class Frames:
    """The registers from an address on, by offset, as `NamedRegisters` wants them."""

    def __init__(self, space: AddressSpace, base: int) -> None:
        self._space = space
        self._base = base

    def read(self, offset: int, size: int) -> int:
        """A read at `base` + `offset`."""
        return self._space.read(self._base + offset, size)

    def write(self, offset: int, value: int, size: int) -> None:
        """A write at `base` + `offset`."""
        self._space.write(self._base + offset, value, size)
