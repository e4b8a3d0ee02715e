# SPDX-License-Identifier: Apache-2.0
"""The command line: one file a verb.

A verb is a module of this package, named in VERBS, which holds a click command named `command`. It is imported only
when it is run or listed, so that a verb costs what it needs and no more.

Exit status: 0 as wanted, 1 an answer that is not (each verb says which), 2 unusable input or usage, or output that
cannot be written. What a signal ends has the status that a shell gives it: 130 after Ctrl-C, 143 after SIGTERM.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ENOMEM
from importlib import import_module
from types import FrameType
from typing import IO, Any

import click
from click.exceptions import Exit

from gicmodel import __version__
from gicmodel.engine import asked
from gicmodel.errors import UnusableInput, one_line

VERBS = {
    "Read RAM": ("inspect", "diff", "decode", "layouts"),
    "Run the model": ("boot", "migrate", "flush", "replay", "fuzz", "native", "bench"),
    "Set up": ("compile", "completion"),
}
"""The verbs in the groups, and in the order, in which --help has them."""
QEMU = "qemu-system-aarch64"
UNUSABLE = 2
_SIGNAL = 128
"""A shell's status of a process that a signal ended is this and the signal's number."""
INTERRUPTED = _SIGNAL + signal.SIGINT
READER_LEFT = _SIGNAL + signal.SIGPIPE


class Refused(click.ClickException):
    """Unusable input or usage: one line on stderr, and exit status 2."""

    exit_code = UNUSABLE

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line, unless that cannot be written either."""
        with suppress(OSError):
            click.echo(f"gicmodel: {one_line(self.message)}", file=file, err=True)


class Stopped(KeyboardInterrupt):
    """SIGTERM or SIGHUP: for a verb the same as Ctrl-C, so that it keeps what it has found so far."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = _SIGNAL + number


class Verbs(click.Group):
    """A group whose commands are VERBS."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs."""
        return [verb for verbs in VERBS.values() for verb in verbs]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the verb's module and return its command."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = import_module(f"{__name__}.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs in their groups, each with all of its first sentence."""
        for group, verbs in VERBS.items():
            commands = [(verb, self.get_command(ctx, verb)) for verb in verbs]
            with formatter.section(group):
                formatter.write_dl(
                    [(verb, command.get_short_help_str(sys.maxsize)) for verb, command in commands if command]
                )

    def make_context(self, *arguments: Any, **extra: Any) -> click.Context:
        """Parse the options before the verb."""
        _open_streams()
        with _ends(), _refusals():
            return super().make_context(*arguments, **extra)

    def invoke(self, ctx: click.Context) -> object:
        """Parse a verb's arguments and run it; what is unusable is one line on stderr and no traceback."""
        with _ends(), _refusals(), _stopped_by(signal.SIGTERM, signal.SIGHUP):
            return super().invoke(ctx)


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
    except EOFError as error:
        # click takes it for Ctrl-D at a prompt, of which there is none here.
        raise RuntimeError("a file ended where nobody expects it") from error


@contextmanager
def _ends() -> Iterator[None]:
    """Write out what was printed, and give each end that is no verdict its exit status."""
    try:
        with _flushed():
            yield
    except KeyboardInterrupt as stop:
        _discard_unwritten()
        with suppress(OSError):
            click.echo("gicmodel: interrupted", err=True)
        raise Exit(getattr(stop.__cause__ or stop, "exit_code", INTERRUPTED)) from stop
    except BrokenPipeError as error:
        _discard_unwritten()
        raise Exit(READER_LEFT) from error
    except (OSError, MemoryError) as error:
        _discard_unwritten()
        raise Refused(_environment(error)) from error


@contextmanager
def _flushed() -> Iterator[None]:
    """The interpreter's own flush, at exit, has no other exit status than 120 for what cannot be written."""
    try:
        yield
    except Exit:
        sys.stdout.flush()
        raise
    sys.stdout.flush()


def _environment(error: OSError | MemoryError) -> str:
    """What is wrong around this process. Files given by name are refused where they are read or written."""
    if isinstance(error, MemoryError) or error.errno == ENOMEM:
        return "there is not enough memory for that"
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return f"the output cannot be written: {error.strerror or error}"


def _discard_unwritten() -> None:
    """Let the interpreter's own flush, at exit, go nowhere instead of failing once more."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())


def _open_streams() -> None:
    """Results need somewhere to go; who closed the other streams has nothing to ask and wants to hear nothing."""
    if sys.stdout is None:
        raise Refused("the output cannot be written: standard output is closed")
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: PTH123, SIM115 (for as long as the process lives)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115


@contextmanager
def _stopped_by(*numbers: signal.Signals) -> Iterator[None]:
    """Raise Stopped for these signals, but for those that are ignored, as SIGHUP is under nohup."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    taken = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _stop(number: int, _: FrameType | None) -> None:
    raise Stopped(number)


def _print_version(ctx: click.Context) -> None:
    """The package, the engine that is asked for, the libraries that kernels are made with, and QEMU, if found."""
    import platform
    from importlib.metadata import version

    click.echo(f"gicmodel {__version__}")
    click.echo(f"engine {asked().value}")
    click.echo(f"python {platform.python_version()}")
    for library in ("numpy", "numba"):
        click.echo(f"{library} {version(library)}")
    click.echo(_qemu())
    ctx.exit()


def _qemu() -> str:
    import re
    import shutil
    import subprocess

    binary = shutil.which(QEMU)
    if binary is None:
        return f"{QEMU} not found"
    try:
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return one_line(f"{binary} does not run: {error}")
    number = re.search(r"version (\S+)", said)
    return one_line(f"QEMU {number[1] if number else 'of no known version'}, {binary}")


@click.group(cls=Verbs, name="gicmodel", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=lambda ctx, _, wanted: _print_version(ctx) if wanted and not ctx.resilient_parsing else None,
    help="Show the version, and what else a result depends on.",
)
def main() -> None:
    """An executable model of the Arm GICv4.1 ITS and redistributor."""
