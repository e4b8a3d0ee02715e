# SPDX-License-Identifier: Apache-2.0
"""Whether results can be written, asked before any work is done for them."""

from __future__ import annotations

import os
from pathlib import Path

from gicmodel.errors import UnusableInput


def require_writable(directory: Path | None, file: str | None) -> None:
    """UnusableInput unless `directory` is one or can be made, and `file` (`-` for standard output) can be written.

    Nothing is made. What changes until then is found when it is written.
    """
    if directory is not None:
        _check_directory(directory, next(path for path in (directory, *directory.absolute().parents) if path.exists()))
    if file not in (None, "-"):
        _check_file(Path(file))


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise UnusableInput(f"{path}: cannot be written: it is a directory")
    if not path.exists() or path.is_file():
        _check_directory(path, path.absolute().parent)
    elif not os.access(path, os.W_OK):
        raise UnusableInput(f"{path}: cannot be written: no permission")


def _check_directory(target: Path, directory: Path) -> None:
    """A regular file is replaced, so what counts is the directory."""
    if not directory.is_dir():
        raise UnusableInput(f"{target}: cannot be written: {directory} is not a directory")
    if not os.access(directory, os.W_OK):
        raise UnusableInput(f"{target}: cannot be written: no permission for {directory}")
