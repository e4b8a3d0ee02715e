# SPDX-License-Identifier: Apache-2.0
"""Files that are parts of one RAM, each with its address: `pmemsave` by hand, cloud-hypervisor's memory ranges."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import IO, NamedTuple

from gicmodel.errors import UnusableInput
from gicmodel.images.dump import Dump
from gicmodel.images.elf import check_addresses
from gicmodel.images.files import opened_whole
from gicmodel.images.segments import Segment, mapped
from gicmodel.images.sources import dump_in

_NUMBER = r"(?:0x[0-9a-fA-F]+|[0-9]+)"
_PART = re.compile(
    rf"(?P<path>.+)@(?P<base>{_NUMBER})(?::(?P<offset>{_NUMBER})(?::(?P<size>{_NUMBER}))?)?", re.ASCII | re.DOTALL
)


class Part(NamedTuple):
    """A file of RAM; raw bytes begin at physical address `base`, and may be `size` bytes from `offset` on."""

    path: Path
    base: int | None = None
    offset: int = 0
    size: int | None = None

    @property
    def is_excerpt(self) -> bool:
        """Whether it is not the whole file."""
        return (self.offset, self.size) != (0, None)


def parse_part(text: str) -> Part:
    """What `FILE`, `FILE@BASE`, `FILE@BASE:OFFSET` or `FILE@BASE:OFFSET:SIZE` names; a file of that name goes first."""
    if not text:
        raise UnusableInput("an empty name is no file of RAM")
    match = _PART.fullmatch(text)
    if match is None or os.path.lexists(text):
        return Part(Path(text))
    numbers = {name: None if match[name] is None else int(match[name], 0) for name in ("base", "offset", "size")}
    return Part(Path(match["path"]), numbers["base"], numbers["offset"] or 0, numbers["size"])


def part_in(file: IO[bytes], part: Part) -> Dump:
    """The RAM in an open file, or in the part of it. Raises UnusableInput."""
    if part.base is None or not part.is_excerpt:
        return dump_in(file, part.path, part.base)
    contents = mapped(file, part.path)
    end = contents.size if part.size is None else part.offset + part.size
    if not part.offset < end <= contents.size:
        raise UnusableInput(
            f"{part.path}: bytes {part.offset:#x} up to {end:#x} are none of its {contents.size:#x} bytes"
        )
    check_addresses(f"{part.path}: {end - part.offset:#x} bytes", part.base, end - part.offset)
    return Dump([Segment(part.base, contents[part.offset : end], part.offset)])


def with_parts(dump: Dump, image: Path, parts: list[Part]) -> Dump:
    """A dump with more parts of the same RAM. Raises UnusableInput."""
    if not parts:
        return dump
    if dump.settled:
        raise UnusableInput(f"{image}: is a snapshot, which has all of its RAM: no piece goes with it")
    runs = dump.segments
    for part in parts:
        with opened_whole(part.path) as file:
            more = part_in(file, part)
        if more.settled:
            raise UnusableInput(f"{part.path}: is a snapshot, which has all of its RAM: no piece goes with another")
        runs = [*runs, *more.segments]
    return Dump(runs)
