"""What the programs say of settings: which there are, and whether a value is right, before anything is trained."""
from __future__ import annotations

import functools
import json
import math
import re
import struct
import subprocess
import tempfile
from pathlib import Path

from advice import script_call
from places import GridError, Item

PROGRAMS = ("train_standard", "train_generous", "train_kd", "evaluate", "predict")


class Programs:
    """The programs in a build's folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        for name in PROGRAMS:
            if not (folder / name).is_file():
                raise GridError(f"{folder / name}: there is no such program; "
                                f"{script_call('apps/setup.sh', folder.parent, 'compare')} builds it")

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def _ask(self, name: str, *flags: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run([self.path(name), *flags], capture_output=True, text=True, check=False)
        except OSError as error:
            raise GridError(f"{self.path(name)}: {error.strerror}") from None

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

    def check_model(self, item: Item) -> str:
        """The network's name, if there is such a network."""
        name = item.text()
        complaint = self.model_complaint(name)
        if complaint:
            item.fail(complaint)
        return name

    @functools.cache
    def model_complaint(self, name: str) -> str:
        """What is wrong with a network's name; "" if nothing. `predict` is given weights that are no network's: it
        makes the network before it says so."""
        with tempfile.TemporaryDirectory() as folder:
            weights = Path(folder) / "none.safetensors"
            write_images(weights)
            said = self._ask("predict", f"--model_name={name}", "--classes=10", f"--weights={weights}",
                             f"--input={weights}", f"--output={folder}/logits.safetensors").stderr.strip()
        if "not the expected tensors" in said:
            return ""
        return said.removeprefix("predict: ").split(" (known: ")[0]


def write_images(path: Path) -> None:
    """A safetensors file of one black image, which `predict` takes as its input."""
    shape = (1, 3, 32, 32)
    size = 4 * math.prod(shape)
    header = json.dumps({"input": {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(size))
