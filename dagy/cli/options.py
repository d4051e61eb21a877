"""Options that many commands have."""

from __future__ import annotations

from typing import Literal, TypeAlias

import click

Form: TypeAlias = Literal["table", "json", "yaml"]

format_option = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    show_default=True,
    help="For people, or for programs.",
)

profile_option = click.option(
    "--profile", metavar="NAME", help="Which control plane: a profile of `dagy config`. [default: the default one]"
)
