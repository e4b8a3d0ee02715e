# SPDX-License-Identifier: Apache-2.0
"""A shared library of a kernel's files: made by the C compiler, kept under a digest of all sources, and loaded."""

from __future__ import annotations

import _ctypes
import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from platformdirs import user_cache_path

from gicmodel.errors import UnusableInput
from gicmodel.fuzzing.peers.linux.source import KernelSource
from gicmodel.images.files import replacing

SHIM = Path(__file__).parent / "shim"

_INCLUDED = re.compile(r"^\s*#\s*include\s*<([\w./-]+)>", re.MULTILINE)
_FLAGS = (
    "-std=gnu11 -O1 -g -fPIC -fno-strict-aliasing -fwrapv -fms-extensions -fvisibility=hidden -Werror=implicit"
).split()
_SECONDS, _MOST_SAID = 300, 300
_TYPE = "struct "
_DIRECTORIES = ("include", "arch/arm64/kvm/vgic", "drivers/irqchip", "lib")
"""Where the files of a kernel are that others include, and ours."""
_OF_THE_SYSTEM = frozenset({"linux/errno.h"})
"""Headers of Linux that the C library includes."""


@dataclass(frozen=True)
class Recipe:
    """How a library is made of a kernel.

    `unit` is the C file of ours that includes the kernel's; our header of its name takes the place of each that is not
    taken from the kernel. `cut` names functions and types per file of the kernel, which `cut.h` and `cut_types.h` have
    then; `may_cut` those that not every kernel has. `macros` are defined where a file of the kernel contains a regular
    expression.
    """

    unit: str
    cut: Mapping[str, tuple[str, ...]]
    macros: Mapping[str, tuple[str, str]]
    may_cut: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def built(source: KernelSource, recipe: Recipe) -> Path:
    """The library, from the user's cache directory if it is there.

    Raises UnusableInput without a C compiler, and if the source does not compile: its kernel needs something that the
    stand-ins do not have.
    """
    texts = {path.relative_to(SHIM).as_posix(): path.read_bytes() for path in sorted(SHIM.glob("*.[ch]"))}
    digest = hashlib.sha256(repr((sorted(source.files.items()), sorted(texts.items()), recipe, _FLAGS)).encode())
    directory, name = user_cache_path("gicmodel") / "linux", f"{recipe.unit}-{digest.hexdigest()[:32]}"
    for kept in directory.glob(f"{name}-*.so"):
        if kept.name == f"{name}-{_digest_of(kept)}.so":
            return kept
    with tempfile.TemporaryDirectory(prefix="gicmodel-") as made:
        return _keep(_compile(source, recipe, Path(made)), directory, name)


class Library:
    """A library that is loaded, with variables of its own.

    What `call` gives to a function are numbers of 64 bits, arrays and what else ctypes takes for an address.
    """

    def __init__(self, path: Path) -> None:
        """Raise UnusableInput if it cannot be loaded."""
        # The loader knows a file that it has by its inode. In /tmp some systems let nothing be executed.
        try:
            with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".so") as copy:
                shutil.copyfile(path, copy.name)
                self._loaded = ctypes.CDLL(copy.name)
        except OSError as error:
            raise UnusableInput(f"{path}: cannot be loaded: {error}") from None

    def call(self, name: str, *arguments: object) -> int:
        """What a function of the library returns."""
        function = getattr(self._loaded, name)
        function.restype = ctypes.c_long
        return int(function(*map(_as_argument, arguments)))

    def text(self, name: str) -> str:
        """The text that a function returns."""
        return ctypes.string_at(self.call(name)).decode()

    @property
    def died_at(self) -> str:
        """The function of the kernel that was the end of a call, "" if none was."""
        return self.text("shim_died_at")

    def close(self) -> None:
        """Unload it."""
        _ctypes.dlclose(self._loaded._handle)


def _as_argument(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.ctypes
    return ctypes.c_uint64(value) if isinstance(value, int) else value


def compiler() -> str:
    """The C compiler. Raises UnusableInput without one."""
    found = next((path for name in (os.environ.get("CC"), "gcc", "cc") if name and (path := shutil.which(name))), None)
    if found is None:
        raise UnusableInput("no C compiler is installed (Debian: gcc)")
    return found


def run_tool(command: list[str], blame: str, most: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run a compiler, or what comes with it.

    Raises UnusableInput if it cannot be run; if it fails, beginning with `blame`, with its error in `most` characters.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise UnusableInput(f"{command[0]}: {error}") from None
    if done.returncode:
        said = next((line for line in done.stderr.splitlines() if "error" in line or "undefined" in line), done.stderr)
        raise UnusableInput(f"{blame}: {said.strip()[:most]}")
    return done


def definition(text: str, name: str) -> str:
    """A function, or a type "struct ...", cut out of a C file in the kernel's style. UnusableInput if there is none."""
    function = rf"^[a-z][^;={{}}]*?\b{name}\([^;{{}}]*\)\n\{{\n.*?^\}}\n"
    of_this = rf"^{name} \{{\n.*?^\}};\n" if name.startswith(_TYPE) else function
    found = re.search(of_this, text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise UnusableInput(f"this kernel has no {name} where it is looked for")
    return found[0]


def _compile(source: KernelSource, recipe: Recipe, directory: Path) -> Path:
    kernel, made = directory / "kernel", directory / "made"
    for path, octets in source.files.items():
        _write(kernel / path, octets)
    for header in _headers_to_make(source):
        _write(made / header, f"#include <{recipe.unit}.h>\n".encode())
    found = [(path, name) for path, names in recipe.may_cut.items() for name in names if name in source.text(path)]
    cut = [*found, *((path, name) for path, names in recipe.cut.items() for name in names)]
    for header, are_types in (("cut_types.h", True), ("cut.h", False)):
        texts = [definition(source.text(path), name) for path, name in cut if name.startswith(_TYPE) is are_types]
        _write(made / header, "\n".join(texts).encode())
    defined = [f"-D{name}" for name, (path, what) in recipe.macros.items() if re.search(what, source.text(path))]
    included = [f"-I{path}" for path in (SHIM, made, *(kernel / name for name in _DIRECTORIES))]
    objects, wherever = directory / "unit.o", f"-ffile-prefix-map={directory}="
    compiled = ["-c", str(SHIM / f"{recipe.unit}.c"), "-o", str(objects)]
    _run(source, [compiler(), *_FLAGS, wherever, *defined, *included, *compiled])
    stubs = _write(directory / "stubs.c", _stubs(_undefined(source, objects)).encode())
    library = directory / "library.so"
    linked = ["-shared", "-fPIC", "-w", "-fno-builtin", str(objects), str(stubs), "-Wl,--no-undefined"]
    _run(source, [compiler(), *linked, "-o", str(library)])
    return library


def _headers_to_make(source: KernelSource) -> set[str]:
    """The headers that the kernel's files include and that are not among them."""
    taken = {path.removeprefix("include/") for path in source.files}
    included = (name for path in source.files for name in _INCLUDED.findall(source.text(path)))
    return {name for name in included if name not in taken | _OF_THE_SYSTEM}


def _run(source: KernelSource, command: list[str]) -> str:
    return run_tool(command, f"{source.where}: Linux {source.version} does not compile here", _MOST_SAID).stdout


def _undefined(source: KernelSource, objects: Path) -> list[str]:
    names = _run(source, ["nm", "--undefined-only", "--format=just-symbols", str(objects)]).split()
    libc = ctypes.CDLL(None)
    return [name for name in names if name != "_GLOBAL_OFFSET_TABLE_" and not hasattr(libc, name)]


def _stubs(names: Iterable[str]) -> str:
    """Functions of the kernel's that the files refer to, and that are never called: to call one is the end."""
    lines = [f'void *{name}(void) {{ shim_die(-10000, "{name}"); return 0; }}' for name in names]
    return "\n".join(["void shim_die(int, const char *);", *lines]) + "\n"


def _write(path: Path, octets: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(octets)
    return path


def _keep(library: Path, directory: Path, name: str) -> Path:
    """Put a library into the cache, whole, under a name that tells damage. UnusableInput if there is no room."""
    kept = directory / f"{name}-{_digest_of(library)}.so"
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnusableInput(f"{kept}: cannot be written: {error.strerror or error}") from None
    with replacing(kept) as file:
        file.write(library.read_bytes())
    return kept


def _digest_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:32]
