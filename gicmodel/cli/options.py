# SPDX-License-Identifier: Apache-2.0
"""What options of several verbs hold: numbers, where an image and its registers are, and where results go.

The last is asked before any work is done.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial, wraps
from pathlib import Path
from typing import Any, Generic, TypeVar

import click
from click.core import ParameterSource

from gicmodel.errors import MissingExtra, UnusableInput, number_in

_PLACE = "FILE@BASE[:OFFSET[:SIZE]]"
_REGISTERS = "A TOML file, a snapshot, or the output of xp, md or devmem."
_NODE = "Registers of the Nth Linux kernel found in the image, from 0."
_VMLINUX = "Debug information of the image's kernel."
FIGURES = (".svg", ".png", ".pdf")
_Value = TypeVar("_Value")


class Parsed(click.ParamType[_Value], Generic[_Value]):
    """What `parse` makes of an option's text; its ValueError says what is wrong with that."""

    def __init__(self, name: str, parse: Callable[[str], _Value]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> _Value:
        """Parse it."""
        try:
            return self._parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


Number = partial(Parsed, "number", number_in)
"""A number, decimal or with 0x."""


class Real(click.FloatRange):
    """A range of numbers. click's own lets NaN pass, which is in none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{number} is not in the range {self._describe_range()}.", param, ctx)
        return number


class SourceFile(click.Path):
    """A file that is read: what it holds is for whoever reads it to say."""

    wanted = "file"

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path; pathlib takes an empty name, such as that of an unset variable, for the directory one is in."""
        if not value:
            self.fail(f"an empty name is no {self.wanted}", param, ctx)
        return Path(os.fsdecode(super().convert(value, param, ctx)))


EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)
"""A file that is there."""


class _Place(SourceFile):
    """Where a result goes; `require` raises UnusableInput unless it can be written there.

    Nothing is made; what changes until then is found when it is written.
    """

    wanted = "place for a result"

    def __init__(self, require: Callable[[Path], None]) -> None:
        super().__init__()
        self._require = require

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path, if there can be a result."""
        path = super().convert(value, param, ctx)
        self._require(path)
        return path


def given(ctx: click.Context, names: Iterable[str]) -> str | None:
    """The first of these parameters that is on the command line, as it is written there."""
    options = {param.name: param.opts[-1] for param in ctx.command.params}
    found = (options[name] for name in names if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE)
    return next(found, None)


def refuse_overwriting(ctx: click.Context) -> None:
    """UnusableInput if a result would be written over a file that the command reads."""
    named = [(param, path) for param in ctx.command.params for path in _paths(ctx.params.get(param.name or ""))]
    sources = [path for param, path in named if not isinstance(param.type, _Place)]
    for param, place in named:
        for source in sources if isinstance(param.type, _Place) else ():
            if place.exists() and source.exists() and place.samefile(source):
                raise UnusableInput(f"{param.opts[-1]} {place}: would be written over {source}, which is read")


def _paths(value: Any) -> Iterator[Path]:
    """The files that the value of an option may name, FILE@BASE too."""
    if isinstance(value, tuple):
        for each in value:
            yield from _paths(each)
    elif isinstance(value, str | Path):
        yield Path(value)
        yield Path(str(value).partition("@")[0] or value)


def _require_directory(path: Path) -> None:
    _check_directory(path, next(above for above in (path, *path.absolute().parents) if above.exists()))


def _require_file(path: Path) -> None:
    if str(path) == "-":
        raise UnusableInput("- is no file: --json prints JSON on standard output")
    if path.is_dir():
        raise UnusableInput(f"{path}: cannot be written: it is a directory")
    if not path.exists() or path.is_file():
        _check_directory(path, path.absolute().parent)
    elif not os.access(path, os.W_OK):
        raise UnusableInput(f"{path}: cannot be written: no permission")


def _require_figure(path: Path) -> None:
    _require_file(path)
    if path.suffix not in FIGURES:
        raise UnusableInput(f"{path}: a figure is {', '.join(FIGURES)}")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise MissingExtra("--figure", "matplotlib", "plot") from None


Directory = partial(_Place, _require_directory)
"""A directory that is there or can be made."""
ResultFile = partial(_Place, _require_file)
"""A file that can be written, and is not taken for standard output."""
FigureFile = partial(_Place, _require_figure)
"""A picture that matplotlib, which is installed, can draw."""


def _check_directory(target: Path, directory: Path) -> None:
    """A regular file is replaced, so what counts is the directory."""
    if not directory.is_dir():
        raise UnusableInput(f"{target}: cannot be written: {directory} is not a directory")
    if not os.access(directory, os.W_OK):
        raise UnusableInput(f"{target}: cannot be written: no permission for {directory}")


_SOURCE_OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "base": ("base", {"type": Number(), "help": "Physical address of a raw image's first byte."}),
    "piece": ("pieces", {"multiple": True, "metavar": _PLACE, "help": "More of the same RAM."}),
    "registers": ("files", {"multiple": True, "type": SourceFile(), "help": _REGISTERS}),
    "set": ("pairs", {"multiple": True, "metavar": "NAME=VALUE", "help": "One register, such as GITS0_BASER0=0xf9..."}),
    "trace": ("trace", {"type": SourceFile(), "help": "Registers from a QEMU trace log."}),
    "node": ("node", {"type": Number(), "metavar": "N", "help": _NODE}),
    "vmlinux": ("vmlinux", {"metavar": "FILE", "type": SourceFile(), "help": _VMLINUX}),
}
"""The options that say where an image and its registers are: what `open_source` calls each, and how it is declared."""


def as_one(argument: str, make: Callable[..., Any], **options: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command options (click's, by the names of their values), which it gets as one `argument`.

    That is what `make` returns, called with their values by name.
    """

    def decorated(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def gathered(*arguments: Any, **values: Any) -> Any:
            made = make(**{name: values.pop(name) for name in options})
            return command(*arguments, **{argument: made}, **values)

        for option in reversed(options.values()):
            gathered = option(gathered)
        return gathered

    return decorated


def source_options(argument: str, prefix: str = "") -> Callable[..., Any]:
    """Give a command the options of one source; it gets them as `argument`, what `open_source` takes beside the image.

    With a `prefix`, such as "before", they are --before-base and so on.
    """
    names = {option: f"{prefix}_{option}".strip("_") for option in _SOURCE_OPTIONS}

    def source(**values: Any) -> dict[str, Any]:
        return {_SOURCE_OPTIONS[option][0]: values[name] for option, name in names.items()}

    options = {
        name: click.option(f"--{name.replace('_', '-')}", name, **_SOURCE_OPTIONS[option][1])
        for option, name in names.items()
    }
    return as_one(argument, source, **options)
