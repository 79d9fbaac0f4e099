"""``pgbaton completion``: the script by which a shell completes commands, options and their values."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated

import typer

from pgbaton.cli.common import app


class Shell(StrEnum):
    """Shells that are known."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


SCRIPTS = {
    Shell.BASH: r"""
_pgbaton() {
    local IFS=$'\n'
    COMPREPLY=($(COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD _PGBATON_COMPLETE=complete_bash "$1" 2>/dev/null))
}
complete -o default -F _pgbaton pgbaton
""",
    Shell.ZSH: r"""
#compdef pgbaton
_pgbaton() {
    eval "$(_TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" _PGBATON_COMPLETE=complete_zsh pgbaton 2>/dev/null)"
}
compdef _pgbaton pgbaton
""",
    Shell.FISH: r"""
function _pgbaton
    env _PGBATON_COMPLETE=complete_fish _TYPER_COMPLETE_FISH_ACTION=$argv[1] \
        _TYPER_COMPLETE_ARGS=(commandline -cp) pgbaton 2>/dev/null
end
complete --command pgbaton --no-files --arguments "(_pgbaton get-args)" --condition "_pgbaton is-args"
""",
}


def prepare() -> None:
    """Where a shell asks for completions: make typer able to answer, which it otherwise is only with options of its
    own that write into a person's ~/.bashrc."""
    if "_PGBATON_COMPLETE" in os.environ:
        from typer.completion import get_completion_inspect_parameters

        get_completion_inspect_parameters()


@app.command(
    examples=[
        'eval "$(pgbaton completion bash)"                                 # in ~/.bashrc',
        'eval "$(pgbaton completion zsh)"                                  # in ~/.zshrc, after compinit',
        "pgbaton completion fish > ~/.config/fish/completions/pgbaton.fish",
    ]
)
def completion(
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.", show_default=False)],
) -> None:
    """Print the script by which a shell completes commands."""
    print(SCRIPTS[shell].strip())
