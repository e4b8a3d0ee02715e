# SPDX-License-Identifier: Apache-2.0
"""An initial RAM file system for Linux, made in memory: a cpio archive in the "newc" format.

Linux, Documentation/driver-api/early-userspace/buffer-format.rst. A device file in it needs no privilege to make.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

_MAGIC, _END = "070701", "TRAILER!!!"
_DIRECTORY, _CHARACTERS, _REGULAR = 0o040755, 0o020600, 0o100755
_CONSOLE = 5, 1
_ALIGNMENT = 4


def initramfs(files: Mapping[str, bytes]) -> bytes:
    """An archive with these files by absolute path, all executable, their directories, and /dev/console.

    The directories /proc, /sys and /dev are there to be mounted on. ValueError: a path that is not absolute.
    """
    paths = [PurePosixPath(path) for path in files]
    for path in paths:
        if not path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{path} is not an absolute path")
    places = [PurePosixPath(name) for name in ("/proc/x", "/sys/x", "/dev/x")]
    directories = sorted({above for path in (*paths, *places) for above in path.parents if above.name})
    entries = [_entry(number, str(path), _DIRECTORY) for number, path in enumerate(directories, 1)]
    entries.append(_entry(len(entries) + 1, "/dev/console", _CHARACTERS, device=_CONSOLE))
    for name, contents in files.items():
        entries.append(_entry(len(entries) + 1, name, _REGULAR, contents))
    return b"".join([*entries, _entry(0, _END, 0)])


def _entry(number: int, path: str, mode: int, contents: bytes = b"", device: tuple[int, int] = (0, 0)) -> bytes:
    """Header, name and contents, each padded to four octets."""
    name = path.lstrip("/").encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(contents), 0, 0, *device, len(name), 0)
    header = (_MAGIC + "".join(f"{field:08x}" for field in fields)).encode()
    return _padded(header + name) + _padded(contents)


def _padded(octets: bytes) -> bytes:
    return octets + bytes(-len(octets) % _ALIGNMENT)
