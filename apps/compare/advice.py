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


def install_call(*packages: str) -> str:
    """Debian packages; who is root may have no sudo."""
    return " ".join([*([] if os.geteuid() == 0 else ["sudo"]), "apt-get install", *packages])
