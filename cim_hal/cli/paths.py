"""Kinds of paths that options take."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["FILE", "FOLDER", "model_option"]

FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)

model_option = click.option(
    "--model",
    "model_path",
    required=True,
    type=FILE,
    metavar="FILE",
    help="G-set text (MAX-CUT), or .npz with J and an optional h.",
)
