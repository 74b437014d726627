"""`trinity completion bash|zsh|fish`: the script a shell sources."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_HOW = {
    "bash": 'eval "$(trinity completion bash)"   # in ~/.bashrc',
    "zsh": 'eval "$(trinity completion zsh)"    # in ~/.zshrc',
    "fish": "trinity completion fish | source   # in ~/.config/fish/config.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(sorted(_HOW)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for SHELL."""
    cls = get_completion_class(shell)
    assert cls is not None
    root = ctx.find_root().command
    click.echo(f"# {_HOW[shell]}")
    click.echo(cls(root, {}, "trinity", "_TRINITY_COMPLETE").source())
