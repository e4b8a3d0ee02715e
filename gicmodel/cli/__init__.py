# SPDX-License-Identifier: Apache-2.0
"""The command line: one file a verb.

A verb is a module of this package whose name has no leading underscore and which holds a click command named `command`.
It is imported only when it is run or listed, so that a verb costs what it needs and no more.

Exit status: 0 as wanted, 1 an answer that is not (each verb says which), 2 unusable input or usage.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import click

from gicmodel import __version__
from gicmodel.errors import UnusableInput, one_line

UNUSABLE = 2
# What a shell reports for a process that SIGPIPE ended (128 + 13): a reader that left is not one of the verdicts above.
READER_LEFT = 141


class Refused(click.ClickException):
    """Unusable input or usage: one line on stderr, and exit status 2."""

    exit_code = UNUSABLE

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line."""
        click.echo(f"gicmodel: {one_line(self.message)}", file=file, err=True)


@contextmanager
def _refusals() -> Iterator[None]:
    """Give what cannot be used, arguments too, the one form that `Refused` prints."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        verb = error.ctx.command_path if error.ctx else "gicmodel"
        raise Refused(f"{error.format_message().rstrip('.')}; see {verb} --help") from error
    except UnusableInput as error:
        raise Refused(str(error)) from error


class Verbs(click.Group):
    """A group whose commands are the modules of this package."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs, by name."""
        return sorted(file.stem for file in Path(__file__).parent.glob("[!_]*.py"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the verb's module and return its command."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = import_module(f"{__name__}.{cmd_name}").command
        return command

    def make_context(self, *arguments: Any, **extra: Any) -> click.Context:
        """Parse the options before the verb."""
        with _refusals():
            return super().make_context(*arguments, **extra)

    def invoke(self, ctx: click.Context) -> object:
        """Parse a verb's arguments and run it; what is unusable is one line on stderr and no traceback."""
        try:
            with _refusals():
                result: object = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            _discard_output()
            ctx.exit(READER_LEFT)
        return result


def _discard_output() -> None:
    """Let the interpreter's own flush at exit go nowhere instead of failing once more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())


@click.group(cls=Verbs, name="gicmodel", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gicmodel")
def main() -> None:
    """An executable model of the Arm GICv4.1 ITS and redistributor."""
