# SPDX-License-Identifier: Apache-2.0
"""`gicmodel completion`: what a shell needs to complete verbs and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_GICMODEL_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print a script that lets SHELL complete verbs and options.

    For bash: eval "$(gicmodel completion bash)" in ~/.bashrc; for zsh the same with zsh in ~/.zshrc; for fish:
    gicmodel completion fish > ~/.config/fish/completions/gicmodel.fish
    """
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(ctx.find_root().command, {}, "gicmodel", _VARIABLE).source())
