# SPDX-License-Identifier: Apache-2.0
"""What is behind `gicmodel.h`: a GIC and its RAM, as a shared object in this process reaches them."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from elftools.elf.enums import ENUM_E_MACHINE

from gicmodel.config import FIRST_SPI
from gicmodel.errors import MissingExtra, UnusableInput
from gicmodel.hardware import Bus, CpuInterface, Gic, Redistributor
from gicmodel.hardware.register_face import check_size
from gicmodel.images.elf import MAGIC
from gicmodel.lab.late import LateGic
from gicmodel.layouts.lpi_tables import SPURIOUS
from gicmodel.layouts.registers.by_name import SYSTEM_REGISTERS, encoding, registers_of
from gicmodel.memory import PAGE_BYTES, ExternalAbort
from gicmodel.native.running import ENTRY, INCLUDE

_STRUCTURES = re.compile(r"^struct \w+ \{.*?^\};$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_DEADLY = ExternalAbort, ValueError
"""What no PE and no bus does is a ValueError."""
_IAR = {encoding("ICC_IAR0_EL1"), encoding("ICC_IAR1_EL1")}
_ELF_BYTES, _BIG_ENDIAN = 20, 2
"""An ELF file's header up to e_machine, and ELFDATA2MSB."""
_MOST_MISSING = 16
"""Of a place: a table of configuration bytes that was never invalidated would be one line for each."""


class DriverEnded(Exception):
    """The driver did what hardware does not survive: an external abort, or what no PE has."""


class Taken(NamedTuple):
    """An interrupt that a PE, or its resident vPE, has acknowledged."""

    pe: int
    intid: int
    virtual: bool


class Host:
    """A GIC, its RAM and its PEs, as `gicmodel.h` gives them to a driver.

    `late`: the registers as the driver gets them, if not `gic`'s own. `note` is told, in words, of each thing that the
    driver does, before it is done; `die` is called with what the driver does not survive, and by default lets the
    driver go on, with zeros, to its end: C has no exceptions.
    """

    def __init__(
        self,
        gic: Gic,
        late: LateGic | None = None,
        *,
        note: Callable[[str], None] = lambda did: None,
        die: Callable[[Exception], None] = lambda reason: None,
    ) -> None:
        self.gic = gic
        self.late = late
        self.bus = Bus(late or gic)
        self.accesses = 0
        self.taken: list[Taken] = []
        self.missing: dict[str, str] = {}
        """What the driver has owed, and after which operation that was first so."""
        self._devices = Bus(gic)
        self._note = note
        self._die = die
        self._ended: Exception | None = None
        self._names = _register_names(gic.config.architecture)

    def run(self, library: Path, entry: str = ENTRY) -> int:
        """Load a driver and run it to its end; what its function `entry` returns.

        Raises:
            UnusableInput: it is no shared object, has no such function, or was not built with `gicmodel.h`.
            DriverEnded: it did what hardware does not survive, and was let on with zeros.
        """
        self._note(f"load {library.name}")
        ffi, loaded = _load(library, entry)
        kept = self._fill(ffi, _symbol(loaded, library, "gic_host"))
        function = _symbol(loaded, library, entry)
        self._note(f"call {entry}")
        returned = int(function())
        del kept
        self.done("at the end")
        self._mark()
        if self._ended is not None:
            raise self._ended
        return returned

    def done(self, operation: str) -> None:
        """An operation is over: note what the late hardware still waits for."""
        if self.late is not None:
            for owed in self.late.missing[:_MOST_MISSING]:
                self.missing.setdefault(owed, operation)

    # What the functions of gicmodel.h do.

    def _read(self, address: int, size: int) -> int:
        if self._is_ram(address, size):
            return int.from_bytes(self.gic.memory.read(address, size), "little")
        self._access(f"read of {self.where(address, size)}")
        value = self.bus.read(address, size)
        self.gic.step()
        return value

    def _write(self, address: int, value: int, size: int) -> None:
        if self._is_ram(address, size):
            self.gic.memory.write(address, value.to_bytes(8, "little")[:size])
            return
        self._access(f"write of {value:#x} to {self.where(address, size)}")
        self.bus.write(address, value, size)

    def _is_ram(self, address: int, size: int) -> bool:
        check_size(size)
        return self.gic.memory.covers(address, size)

    def _device_write(self, address: int, value: int, device_id: int) -> None:
        self._access(f"device {device_id:#x} writes {value:#x} to {self.where(address, 4)}")
        if self._is_ram(address, 4):
            self.gic.memory.write(address, value.to_bytes(4, "little"))
        else:
            self._devices.write(address, value, 4, device_id=device_id)

    def _read_sysreg(self, pe: int, encoding: int, guest: int) -> int:
        self._access(f"{_guest_of(guest)}PE {pe} reads {_system_register_name(encoding, guest)}")
        value = self._cpu(pe).read(encoding, virtual=bool(guest))
        if encoding in _IAR:
            self._taken(pe, value, virtual=bool(guest))
        self.gic.step()
        return value

    def _write_sysreg(self, pe: int, encoding: int, value: int, guest: int) -> None:
        self._access(f"{_guest_of(guest)}PE {pe} writes {value:#x} to {_system_register_name(encoding, guest)}")
        self._cpu(pe).write(encoding, value, virtual=bool(guest))

    def _set_line(self, pe: int, intid: int, level: int) -> None:
        self._access(f"the input of INTID {intid} of PE {pe} goes {'high' if level else 'low'}")
        if intid < FIRST_SPI:
            self._redistributor(pe).set_line(intid, bool(level))
        else:
            self.gic.distributor.set_line(intid, bool(level))

    def _acknowledge(self, pe: int) -> int:
        self._access(f"PE {pe} acknowledges")
        return self._taken(pe, self._cpu(pe).acknowledge(), virtual=False)

    def _acknowledge_virtual(self, pe: int) -> int:
        self._access(f"PE {pe} acknowledges for its vPE")
        return self._taken(pe, self._cpu(pe).acknowledge_virtual(), virtual=True)

    def _taken(self, pe: int, intid: int, *, virtual: bool) -> int:
        if intid != SPURIOUS:
            self.taken.append(Taken(pe, intid, virtual))
        return intid

    def _redistributor(self, pe: int) -> Redistributor:
        if pe >= len(self.gic.redistributors):
            raise ValueError(f"there is no PE {pe}: PEs are 0 to {len(self.gic.redistributors) - 1}")
        return self.gic.redistributors[pe]

    def _cpu(self, pe: int) -> CpuInterface:
        return self._redistributor(pe).cpu

    def _wait(self) -> None:
        self._access("wait")
        self.gic.step()

    def _done(self, ffi: Any, operation: Any) -> None:
        self._note("gic_done")  # To read the name may be the end of the process.
        if operation == ffi.NULL:
            raise ValueError("gic_done(NULL): an operation has a name")
        self.done(ffi.string(operation).decode(errors="replace"))

    def _access(self, did: str) -> None:
        self.accesses += 1
        self._note(f"{did} (number {self.accesses})")

    def where(self, address: int, size: int) -> str:
        """An address as the register that is there: `GITS_CREADR of GITS0 at 0x80a0090, 8 bytes`."""
        try:
            region = self.bus.region(address, size)
        except ExternalAbort:
            return f"{address:#x}, {size} bytes"
        prefix, offset = region.name.rstrip("0123456789"), address - region.base
        name = self._names.get((prefix, offset), f"{prefix} offset {offset:#x}")
        return f"{name} of {region.name} at {address:#x}, {size} bytes"

    # How C gets them.

    def _fill(self, ffi: Any, host: Any) -> list[Any]:
        """Fill in `gic_host`; the functions, which live as long as somebody has them."""
        regions = {region.name: region for region in self.bus.regions}
        memory = self.gic.memory
        host.machine = {
            "distributor": regions["GICD"].base,
            "redistributors": regions["GICR0"].base,
            "redistributor_stride": regions["GICR0"].size,
            "its": regions["GITS0"].base,
            "its_stride": regions["GITS0"].size,
            "ram": memory.base,
            "ram_size": memory.size,
            "pe_count": len(self.gic.redistributors),
            "its_count": len(self.gic.its),
        }
        host.ram = ffi.cast("void *", memory.octets.ctypes.data)
        functions = {"done": lambda operation: self._done(ffi, operation)}
        kept = []
        for name, member in ffi.typeof("struct gic_host").fields:
            if member.type.kind == "function":
                nothing = None if member.type.result.kind == "void" else 0
                function = functions.get(name) or getattr(self, f"_{name}")
                kept.append(ffi.callback(member.type, self._guarded(function, nothing)))
                setattr(host, name, kept[-1])
        return kept

    def _guarded(self, function: Callable[..., int | None], nothing: int | None) -> Callable[..., int | None]:
        """The function as C may call it: an exception must not go through C, and after one nothing is done any more."""

        def call(*arguments: Any) -> int | None:
            if self._ended is not None:
                return nothing
            try:
                return function(*arguments)
            except Exception as reason:
                self._ended = DriverEnded(str(reason)) if isinstance(reason, _DEADLY) else reason
                self._die(self._ended)
                return nothing

        return call

    def _mark(self) -> None:
        """What the driver stored through pointers counts as written."""
        for page in self.gic.memory.nonzero_pages().tolist():
            self.gic.memory.mark(page, PAGE_BYTES)


def _load(library: Path, entry: str) -> tuple[Any, Any]:
    """(FFI, the loaded library), with the types that `gicmodel.h` declares."""
    try:
        import cffi
    except ImportError:
        raise MissingExtra("a driver in C", "cffi", "native") from None
    if not _NAME.fullmatch(entry):
        raise UnusableInput(f"{entry!r} is no name of a C function")
    ffi = cffi.FFI()
    structures = _STRUCTURES.findall((INCLUDE / "gicmodel.h").read_text())
    ffi.cdef("\n".join([*structures, "extern struct gic_host gic_host;", f"int {entry}(void);"]))
    try:
        # cffi looks for a library of that name elsewhere, too, if it has to find it.
        handle = ctypes.CDLL(str(library.absolute()), os.RTLD_NOW)._handle
    except OSError as error:
        why = _foreign(library) or str(error).removeprefix(f"{library.absolute()}: ")
        raise UnusableInput(f"{library}: cannot be loaded: {why}") from None
    return ffi, ffi.dlopen(ffi.cast("void *", handle))


def _foreign(library: Path) -> str | None:
    """For what other processor an ELF file is (gABI, e_ident and e_machine), compared with this Python's; else None."""
    with suppress(OSError), library.open("rb") as file, Path(sys.executable).open("rb") as python:
        theirs, ours = file.read(_ELF_BYTES), python.read(_ELF_BYTES)
        if len(theirs) == _ELF_BYTES and theirs[:4] == MAGIC and (theirs[4:6], theirs[18:]) != (ours[4:6], ours[18:]):
            machine = int.from_bytes(theirs[18:], "big" if theirs[5] == _BIG_ENDIAN else "little")
            names = {number: name.removeprefix("EM_") for name, number in ENUM_E_MACHINE.items()}
            return f"it is an ELF file for {names.get(machine, f'machine {machine}')}, not for this processor"
    return None


def _symbol(loaded: Any, library: Path, name: str) -> Any:
    try:
        return getattr(loaded, name)
    except (AttributeError, KeyError):  # of a function, of a variable
        hint = "it was not built with gicmodel.h" if name == "gic_host" else f"it has no function int {name}(void)"
        raise UnusableInput(f"{library}: {hint}") from None


def _guest_of(guest: int) -> str:
    return "the guest on " if guest else ""


@cache
def _system_register_name(encoding: int, guest: int) -> str:
    names = [entry.name for entry in SYSTEM_REGISTERS if entry.encoding == encoding]
    return (names[-1] if guest else names[0]) if names else f"a system register {encoding:#x}"


@cache
def _register_names(architecture: str) -> dict[tuple[str, int], str]:
    """Registers, and their upper halves, by the unit and the offset."""
    names: dict[tuple[str, int], str] = {}
    for entry in registers_of(architecture).values():
        unit = entry.name.partition("_")[0]
        if entry.bits == 64:
            names.setdefault((unit, entry.offset + 4), f"{entry.name}[63:32]")
        names[unit, entry.offset] = entry.name
    return names
