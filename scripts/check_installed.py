"""Prove an installed waystation: nothing left out, every module imports, every command helps.

Usage: ``python check_installed.py CHECKOUT``, with the Python that it is installed for.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = ("waystation", "export", "store", "importer")


def main(checkout: Path) -> None:
    modules = sum(check_package(checkout, name) for name in PACKAGES)
    commands = [check_command(path) for path in command_paths()]
    print(f"{modules} modules, {len(commands)} commands")


def check_package(checkout: Path, name: str) -> int:
    """Import a package with all below it; return how many modules that were."""
    package = importlib.import_module(name)
    installed = Path(package.__path__[0])
    if installed.is_relative_to(checkout):
        sys.exit(f"{name} comes from the checkout, not from the wheel")
    for file in (checkout / name).rglob("*"):
        place = file.relative_to(checkout / name)
        if file.is_file() and "__pycache__" not in place.parts and not (installed / place).exists():
            sys.exit(f"{name}/{place} is not in the wheel")
    names = [
        module.name
        for module in pkgutil.walk_packages(package.__path__, f"{name}.")
        if not module.name.endswith(".__main__")  # importing it would run the command
    ]
    for module_name in names:
        importlib.import_module(module_name)
    return 1 + len(names)


def command_paths() -> Iterator[tuple[str, ...]]:
    """Yield the words of every command, groups included, from the Typer application."""
    app = importlib.import_module("waystation.cli").app
    yield from walk(typer.main.get_command(app), ())


def walk(command: object, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the path of this command and of those below it."""
    yield path
    # Typer may carry a click of its own, so ask for what a group has, not for its class
    for name, child in getattr(command, "commands", {}).items():
        yield from walk(child, (*path, name))


def check_command(path: tuple[str, ...]) -> tuple[str, ...]:
    """Run a command with --help; it has to succeed and, below the root, to show examples."""
    program = Path(sys.executable).parent / "waystation"
    done = subprocess.run(
        [program, *path, "--help"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"},
    )
    words = " ".join(("waystation", *path))
    if done.returncode != 0:
        sys.exit(f"{words} --help ended with {done.returncode}:\n{done.stderr}")
    lines = [line.strip(" │|$") for line in done.stdout.splitlines()]
    examples = [line for line in lines if line.startswith(f"{words} ")]
    if path and ("example" not in done.stdout.lower() or not examples):
        sys.exit(f"{words} --help shows no example:\n{done.stdout}")
    return path


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
