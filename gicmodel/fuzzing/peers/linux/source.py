# SPDX-License-Identifier: Apache-2.0
"""The source of a Linux kernel: a tree, or an archive as Debian's linux-source-* packages bring it."""

from __future__ import annotations

import hashlib
import io
import lzma
import re
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path, PurePosixPath
from typing import IO

from platformdirs import user_cache_path

from gicmodel.errors import UnusableInput
from gicmodel.images.files import replacing

INSTALLED = Path("/usr/src")
"""Where Debian's packages put archives, and people what they unpack of them."""

FILES = (
    "Makefile",
    "arch/arm64/kvm/arm.c",
    "arch/arm64/kvm/vgic/*.[ch]",
    "drivers/irqchip/irq-gic-common.[ch]",
    "drivers/irqchip/irq-gic-its-msi-parent.h",
    "drivers/irqchip/irq-gic-v3.c",
    "drivers/irqchip/irq-gic-v3-its.c",
    "drivers/irqchip/irq-gic-v4.c",
    "drivers/irqchip/irq-msi-lib.h",
    "include/kvm/arm_vgic.h",
    "include/kvm/iodev.h",
    "include/linux/irqchip/arm-gic-common.h",
    "include/linux/irqchip/arm-gic-v3.h",
    "include/linux/irqchip/arm-gic-v4.h",
    "include/linux/irqchip/arm-vgic-info.h",
    "include/linux/list.h",
    "lib/list_sort.c",
)
"""What is taken of a kernel's source, as patterns of paths."""

_MOST_BYTES = 64 << 20
_DIGEST_BYTES = hashlib.sha256().digest_size
_NEEDED = "arch/arm64/kvm/vgic/vgic-its.c"
_VERSION = re.compile(
    r"^((?:VERSION|PATCHLEVEL|SUBLEVEL)(?= *=[ \t]*[0-9]{1,4}$)|EXTRAVERSION) *=[ \t]*(\S*)$", re.MULTILINE
)


@dataclass(frozen=True)
class KernelSource:
    """Files of a kernel by their paths in it; `where` names the tree or the archive."""

    where: Path
    files: dict[str, bytes]

    @property
    def version(self) -> str:
        """As the Makefile has it: "6.12.117", "7.3.0-rc7". Raises UnusableInput if it has none."""
        found = dict(_VERSION.findall(self.text("Makefile")))
        try:
            return "{VERSION}.{PATCHLEVEL}.{SUBLEVEL}{EXTRAVERSION}".format(**found)
        except KeyError:
            raise UnusableInput(f"{self.where}: its Makefile is not that of a Linux kernel") from None

    @property
    def release(self) -> str:
        """The release that it is of, or will be: "6.12.117", "7.3"."""
        numbers = self.version.partition("-")[0]
        return numbers.removesuffix(".0")

    def is_before(self, version: int, patchlevel: int) -> bool:
        """Whether it is of an earlier release: 6.1.192 is before (6, 12)."""
        return tuple(int(each) for each in self.version.split(".")[:2]) < (version, patchlevel)

    def text(self, path: str) -> str:
        """A file as text; empty if the kernel has none of that name."""
        return self.files.get(path, b"").decode("utf-8", "replace")


@cache
def read_source(where: Path) -> KernelSource:
    """The `FILES` of a tree, or of an archive, which takes ten seconds or more the first time.

    Raises UnusableInput if it cannot be read, or is no source of a kernel with KVM for arm64.
    """
    try:
        found = dict(_of_tree(where) if where.is_dir() else _of_archive(where))
    except (OSError, tarfile.TarError, lzma.LZMAError, EOFError) as error:
        raise UnusableInput(f"{where}: cannot be read: {error}") from None
    if _NEEDED not in found:
        raise UnusableInput(f"{where}: no source of a Linux kernel: {_NEEDED} is missing")
    return KernelSource(where, found)


def source_for(where: Path | None) -> KernelSource:
    """The source at a place, or the newest that is installed. Raises UnusableInput if there is none."""
    where = where or newest_installed()
    if where is None:
        raise UnusableInput(
            "cannot compare with Linux: no --linux-source, and no /usr/src/linux-source-* (Debian: linux-source)"
        )
    return read_source(where)


def newest_installed() -> Path | None:
    """The tree or archive of the newest kernel below /usr/src."""
    found = {}
    for path in INSTALLED.glob("linux-source-*"):
        version = re.fullmatch(r"linux-source-(\d+(?:\.\d+)*)(?:\.tar(?:\.\w+)?)?", path.name)
        if version and (path.is_file() or path.is_dir()):
            found[tuple(map(int, version[1].split(".")))] = path
    return found[max(found)] if found else None


def _of_tree(root: Path) -> Iterator[tuple[str, bytes]]:
    for pattern in FILES:
        for path in sorted(root.glob(pattern)):
            yield path.relative_to(root).as_posix(), _read(path)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        octets = file.read(_MOST_BYTES + 1)
    if len(octets) > _MOST_BYTES:
        raise OSError(f"{path.name} has more than {_MOST_BYTES:#x} bytes")
    return octets


def _of_archive(path: Path) -> dict[str, bytes]:
    """From the user's cache directory if this archive has been read before: it takes long to decompress."""
    status = path.stat()
    identity = repr((str(path.resolve()), status.st_size, status.st_mtime_ns, FILES))
    kept = user_cache_path("gicmodel") / "linux" / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.zip"
    with suppress(OSError):
        digest, content = (octets := kept.read_bytes())[:_DIGEST_BYTES], octets[_DIGEST_BYTES:]
        if digest == hashlib.sha256(content).digest():
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                return {name: archive.read(name) for name in archive.namelist()}
    with path.open("rb") as file:
        found = dict(_members(file))
    with suppress(OSError, UnusableInput):
        content = _zipped(found)
        kept.parent.mkdir(parents=True, exist_ok=True)
        with replacing(kept) as file:
            file.write(hashlib.sha256(content).digest() + content)
    return found


def _zipped(files: dict[str, bytes]) -> bytes:
    """A zip file. Its own checksums leave out its directory: where that is damaged files may be missing unsaid."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, octets in files.items():
            archive.writestr(zipfile.ZipInfo(name), octets)
    return made.getvalue()


def _members(file: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    """What is taken lies below one directory of the archive, whose name does not matter."""
    with tarfile.open(fileobj=file, mode="r|*") as archive:
        for member in archive:
            name = PurePosixPath(member.name).as_posix().partition("/")[2]
            if member.isreg() and member.size <= _MOST_BYTES and any(fnmatchcase(name, each) for each in FILES):
                content = archive.extractfile(member)
                assert content is not None
                yield name, content.read()
