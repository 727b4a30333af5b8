"""What the programs say of settings: which there are, and whether a value is right, before anything is trained."""
from __future__ import annotations

import functools
import re
import subprocess
from pathlib import Path
from typing import Sequence

from places import GridError, Item, nearest

WIDE_NETWORK = re.compile(r"wrn_(\d+)_(\d+)")


class Programs:
    """The programs in a build's folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        for name in ("train_standard", "train_generous", "train_kd", "evaluate"):
            if not (folder / name).is_file():
                raise GridError(f"{folder / name}: there is no such program; bash apps/compare/run.sh builds it")

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def _ask(self, name: str, *flags: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run([self.path(name), *flags], capture_output=True, text=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise GridError(f"{self.path(name)} does not answer: {error}") from None

    @functools.cache
    def complaint(self, name: str, flags: tuple[str, ...]) -> str:
        """What the program has against these flags; "" if nothing. It is called with all but --save_path: it looks at
        every other flag's name and value first, then says that this one is missing."""
        said = self._ask(name, *flags).stderr.strip()
        if said == f"{name}: save_path is missing: give --save_path":
            return ""
        return said.removeprefix(f"{name}: ") or f"{name} said nothing to {' '.join(flags)}"

    @functools.cache
    def help(self, name: str, flags: tuple[str, ...] = ()) -> str:
        return self._ask(name, *flags, "--help").stdout

    @functools.cache
    def flags_of(self, name: str, flags: tuple[str, ...] = ()) -> frozenset[str]:
        """The names of a program's flags."""
        return frozenset(re.findall(r"^  --(\S+)", self.help(name, flags), re.MULTILINE))

    def epochs(self, name: str, flags: tuple[str, ...]) -> int:
        """How many epochs a run has if nothing else is said."""
        found = re.search(r"^  --num_epochs .*default: (\d+)\)$", self.help(name, flags), re.MULTILINE)
        return int(found.group(1)) if found else 1

    @functools.cache
    def model_settings(self, model: str) -> frozenset[str]:
        """The settings that make the network another one, such as shufflenetv2's ratio: whoever reads its weights must
        be told them."""
        group = self.help("evaluate", (f"--model_name={model}",)).split("\nmodel\n")[-1].split("\n\n")[0]
        return frozenset(re.findall(r"^  --(\S+)", group, re.MULTILINE)) - {"model_name", "weights"}

    @functools.cache
    def models(self) -> Sequence[str]:
        listed = self._ask("train_standard", "--list", "models", "--dataset", "cifar10").stdout
        return re.findall(r"^(\w\S*) +\d+ parameters", listed, re.MULTILINE)

    def check_model(self, item: Item) -> str:
        """The network's name, if there is such a network."""
        name = item.text()
        wide = WIDE_NETWORK.fullmatch(name)
        if wide and (int(wide.group(1)) < 10 or int(wide.group(1)) % 6 != 4 or int(wide.group(2)) < 1):
            item.fail(f"a wrn_D_K has depth D = 6n + 4 and widening factor K, such as wrn_16_2, not {name!r}")
        if not wide and name not in self.models():
            item.fail(f"there is no network {name!r}{nearest(name, [*self.models(), 'wrn_16_2'])}")
        return name
