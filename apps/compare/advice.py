"""Commands in messages, as they can be pasted into a shell where the user is."""
from __future__ import annotations

import os
import shlex
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def script_call(script: str, *arguments: object) -> str:
    """A shell script of this checkout."""
    path, here = CHECKOUT / script, Path.cwd()
    return shlex.join(["bash", str(path.relative_to(here) if path.is_relative_to(here) else path), *map(str, arguments)])


def missing_package(program: str, missing: ModuleNotFoundError, *needed: str) -> str:
    """What to say where a Python without the packages of Debian's runs a program that needs them."""
    packages = install_call(*(f"python3-{name}" for name in needed))
    return f"{program}: the Python package {missing.name} is missing: {packages} (for /usr/bin/python3)"


def install_call(*packages: str) -> str:
    """Debian packages; who is root may have no sudo."""
    return " ".join([*([] if os.geteuid() == 0 else ["sudo"]), "apt-get install", *packages])
