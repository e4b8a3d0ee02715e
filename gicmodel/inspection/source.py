# SPDX-License-Identifier: Apache-2.0
"""An image with the registers that belong to it, wherever those are."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from gicmodel.errors import UnusableInput
from gicmodel.images.carve import Recorder
from gicmodel.images.dump import Dump
from gicmodel.images.files import opened_whole
from gicmodel.images.qemu_trace import registers_of_trace
from gicmodel.images.qmp import Machine, is_machine
from gicmodel.images.registers import PAIRS, Registers, from_pairs, merged
from gicmodel.images.segments import Segment
from gicmodel.images.sources import (
    beside,
    dump_in,
    is_snapshot,
    parse_part,
    read_registers,
    registers_in,
    with_parts,
)
from gicmodel.images.windows import bases_of, window_in
from gicmodel.images.windows import registers_in as registers_in_window
from gicmodel.inspection.linux.devices import KernelView, view_of
from gicmodel.inspection.linux.kernels import FoundKernel, find_kernels
from gicmodel.inspection.linux.registers import registers_of
from gicmodel.inspection.linux.scan import Progress

_GIVE = "give --registers FILE, --set NAME=VALUE or --trace FILE"


@dataclass
class Source:
    """An image with its registers, and where they come from.

    `kernels` are those that were found in it, if any were looked for; `kernel` is the one whose registers these are,
    and `view` what its structures say. `live` says how a machine that is no file was read.
    """

    dump: Dump
    registers: Registers
    sources: list[str]
    kernels: list[FoundKernel] = field(default_factory=list)
    kernel: FoundKernel | None = None
    view: KernelView = field(default_factory=KernelView)
    live: str | None = None


def open_source(
    image: Path,
    base: int | None = None,
    files: Sequence[Path] = (),
    trace: Path | None = None,
    pairs: Sequence[str] = (),
    node: int | None = None,
    recorded: bool = False,
    vmlinux: Path | None = None,
    pieces: Sequence[str] = (),
    progress: Progress | None = None,
) -> Source:
    """An image with its registers: of a trace, then of files, then of pairs; the later ones count.

    The image, and `pieces` of the same RAM, may have their place behind their name (`images.sources`). A file may show
    registers by address (`images.windows`): the addresses of the frames are given too, or the kernel's.

    Without any: of the image itself if it is a snapshot, or of the file beside it, or of the Linux kernel whose RAM it
    is; of kernel number `node` in any case, below the others, if that is given. Raises UnusableInput if there is none.
    The dump of a `recorded` one remembers what is read of it. `vmlinux` is the debug information of the dumped kernel,
    which is looked for then too. `progress` is told how many bytes were looked through.
    """
    part = parse_part(str(image))
    if part.base is not None and base is not None:
        raise UnusableInput(f"{image}: has its address behind its name, and a base ({base:#x}) too")
    given = _given(files, trace, pairs)
    with ExitStack() as stack:
        machine = stack.enter_context(Machine(part.path)) if is_machine(part.path) else None
        if machine is not None:
            dump, own = machine.dump(), list[_Told]()
        else:
            part = part if base is None else part._replace(base=base)
            with opened_whole(part.path) as file:
                own = [] if given or node is not None else _own_registers(file, part.path)
                dump = dump_in(file, part)
        dump = with_parts(dump, part.path, [parse_part(piece) for piece in pieces])
        source = Source(Recorder(dump) if recorded else dump, {}, [])
        shown = machine is not None or any(isinstance(told, Dump) for _, told in given)
        names_frames = shown and not _bases(source, given)
        if not (given or own) or names_frames or node is not None or vmlinux is not None:
            _look_for_kernels(source, image, node, not (given or own), vmlinux, progress)
        if machine is not None:
            own = _of_machine(machine, source, given)
    _take(source, [*own, *given])
    return source


def _of_machine(machine: Machine, source: Source, given: Sequence[_Told]) -> list[_Told]:
    """The registers that a live machine's hardware has; and how it was read."""
    torn = "its CPUs ran meanwhile, so that what is read need not be of one moment (`stop` it to be sure)"
    source.live = f"live: {torn if machine.running else 'its CPUs are stopped'}"
    if not machine.emulated:
        source.live += "; KVM has the GIC, and does not show its registers"
    # Of a kernel that is not the machine's own nothing tells where the hardware is.
    own = source.kernel is None or source.kernel.own
    window = machine.window(_bases(source, given)) if own else None
    return [] if window is None else [(f"hardware of {machine.path}", window)]


def registers_alone(files: Sequence[Path] = (), trace: Path | None = None, pairs: Sequence[str] = ()) -> Source:
    """Registers without any RAM, which is absent."""
    source = Source(Dump([Segment(0, np.empty(0, np.uint8))]), {}, [])
    _take(source, _given(files, trace, pairs))
    return source


_Told = tuple[str, Registers | Dump]
"""Registers by name or, as a program shows them, by address; and who told them."""


def _given(files: Sequence[Path], trace: Path | None, pairs: Sequence[str]) -> list[_Told]:
    """What was given, the later ones above."""
    given: list[_Told] = [] if trace is None else [(str(trace), registers_of_trace(trace))]
    given += [(str(path), _read(path)) for path in files]
    return given + ([(PAIRS, from_pairs(pairs))] if pairs else [])


def _read(path: Path) -> Registers | Dump:
    with opened_whole(path) as file:
        return window_in(file, path) or registers_in(file, path)


def _take(source: Source, told: Sequence[_Told]) -> None:
    """Take what was told, above what was found; what is shown by address goes by the frames' that all these tell."""
    bases = _bases(source, told)
    for name, shown in told:
        registers = registers_in_window(shown, bases, Path(name)) if isinstance(shown, Dump) else shown
        source.registers = merged([source.registers, registers])
        source.sources.append(name)


def _bases(source: Source, told: Sequence[_Told]) -> dict[str, int]:
    """The addresses of the frames, as far as they are given, or a kernel's."""
    nodes = source.kernel.nodes if source.kernel is not None else ()
    bases = {f"GITS{number}": node.address for number, node in enumerate(nodes)}
    by_name = (registers for _, registers in told if not isinstance(registers, Dump))
    return bases | bases_of(merged([source.registers, *by_name]))


def _own_registers(file: IO[bytes], image: Path) -> list[_Told]:
    """The registers that are in an image, or beside it."""
    if is_snapshot(file, image):
        return [(str(image), registers_in(file, image))]
    found = beside(image)
    return [] if found is None else [(str(found), read_registers(found))]


def _look_for_kernels(
    source: Source, image: Path, node: int | None, needed: bool, vmlinux: Path | None, progress: Progress | None
) -> None:
    """Take the registers of a kernel whose RAM the dump is; UnusableInput if they are needed and there is none."""
    found = find_kernels(source.dump, progress)
    source.kernels, source.kernel = found.kernels, found.choose(node)
    if source.kernel is not None:
        source.sources.append(f"in the dump: {source.kernel}")
        if found.places.full:
            source.sources.append(
                f"not all that may be of a kernel was looked at: {', '.join(sorted(found.places.full))}"
            )
        source.view = view_of(source.dump, found, source.kernel, vmlinux)
        if source.view.rdists is None and (source.kernel.log is None or not source.kernel.log.pending_tables):
            source.sources.append(
                "its log names no pending tables (it is overwritten, or not in the dump): --vmlinux FILE tells them"
            )
        source.registers = registers_of(source.kernel, source.view)
        source.dump = source.kernel.ram(source.dump)
    elif vmlinux is not None:
        raise UnusableInput(f"{vmlinux}: no Linux kernel that drives an ITS, and sees these addresses, is in {image}")
    elif needed and found.kernels:
        raise UnusableInput(
            f"{image}: its registers are not known: the kernels in it see other addresses (a wrong --base, or guests', "
            f"which --node shows); {_GIVE}"
        )
    elif needed:
        raise UnusableInput(
            f"{image}: its registers are not known: {_GIVE}; a Linux kernel that drives an ITS was not found in it"
        )
