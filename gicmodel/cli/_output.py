# SPDX-License-Identifier: Apache-2.0
"""Where results go: asked before any work is done for them, and written however the work ends."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from gicmodel.errors import UnusableInput
from gicmodel.images.files import replacing


class Directory(click.Path):
    """A directory that is there or can be made."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """pathlib takes an empty name, such as that of an unset variable, for the directory one is in."""
        if not value:
            self.fail("an empty name is no directory", param, ctx)
        return super().convert(value, param, ctx)


def require_writable(directory: Path | None, file: str | None) -> None:
    """UnusableInput unless `directory` is one or can be made, and `file` (`-` for standard output) can be written.

    Nothing is made. What changes until then is found when it is written.
    """
    if directory is not None:
        _check_directory(directory, next(path for path in (directory, *directory.absolute().parents) if path.exists()))
    if file == "":
        raise UnusableInput("an empty name is no file that could be written")
    if file not in (None, "-"):
        _check_file(Path(file))


def publish(json_file: str | None, document: Any, show: Callable[[], None]) -> None:
    """Show results, and write them to a file, if one is named; alone to standard output for `-`.

    One of the two that fails does not keep the other from it: the work may have taken hours. Raises UnusableInput,
    or OSError of standard output.
    """
    try:
        if json_file != "-":
            show()
    finally:
        if json_file is not None:
            _write_json(json_file, document)


def _write_json(file: str, document: Any) -> None:
    text = json.dumps(document, indent=2) + "\n"
    if file == "-":
        sys.stdout.write(text)
    else:
        with replacing(Path(file)) as target:
            target.write(text.encode())


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
