"""Run folders, as the training programs leave them, read for tables and for the page."""
from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterable, Literal, NamedTuple

import pandas

Stage = Literal["standard", "generous", "student"]

# The keys of params.json that name the teacher, by stage: its network and its weights.
TEACHER_KEYS: dict[Stage, tuple[str, str]] = {
    "generous": ("adversarial_model", "adversarial_resume"),
    "student": ("teacher_model", "teacher_resume"),
}
# What says where a run happened and not what it is.
PLACES = frozenset({"seed", "data_dir", "adversarial_resume", "teacher_resume", "teacher_accuracy", "num_workers",
                    "log_steps", "save_every", "record", "tensorboard"})
MARKER = "done"  # the grid tool's: the run is complete, and evaluated


class RunError(Exception):
    """A run folder that cannot be read: one line for the user."""


class Score(NamedTuple):
    """What the weights of one epoch reach, in percent; of the images held out where there are some."""
    epoch: int
    accuracy: float  # on the test images
    loss: float
    validation: float | None


@dataclass(eq=False)
class Run:
    """A run folder. `teacher` is the run whose weights it learned from, if that was found as well."""
    folder: Path
    params: dict[str, Any]
    metrics: pandas.DataFrame  # a row an epoch; none in a run that has not finished its first one
    stage: Stage
    seed: int
    log: str
    teacher: Run | None = None
    pupils: list[Run] = field(default_factory=list)  # the runs whose teacher it is
    name: str = ""  # see cell()

    @property
    def model(self) -> str:
        return str(self.params.get("model_name", "?"))

    @property
    def method(self) -> str:
        """Of a student; "" for a run of another stage."""
        return str(self.params.get("method", "kd")) if self.stage == "student" else ""

    @property
    def epochs(self) -> int:
        """The epochs that are done."""
        return len(self.metrics)

    @property
    def validated(self) -> bool:
        """Whether images held out chose the best epoch; otherwise the test images did."""
        return "validation_top1_percent" in self.metrics

    def best(self) -> Score | None:
        """Of best_model.safetensors: the first epoch that no later one surpasses. None before the first epoch."""
        chooser = self.metrics["validation_top1_percent" if self.validated else "test_top1_percent"]
        return self._score(int(chooser.to_numpy().argmax())) if self.epochs else None

    def last(self) -> Score | None:
        """Of the last epoch. None before the first one."""
        return self._score(self.epochs - 1) if self.epochs else None

    def _score(self, index: int) -> Score:
        row = self.metrics.iloc[index]
        validation = float(row["validation_top1_percent"]) if self.validated else None
        return Score(int(row["epoch"]), float(row["test_top1_percent"]), float(row["test_loss"]), validation)

    @property
    def seconds(self) -> float:
        """Of all its epochs; those whose times were lost count as much as the mean of the others."""
        times = self.metrics["seconds"]
        return float(times.mean() * len(times)) if times.notna().any() else 0.0

    @property
    def memory_mib(self) -> float | None:
        """The most that its process ever held; None where the log does not say."""
        found = re.findall(r"at most ([\d.]+) (MiB|GiB) of memory", self.log)
        return max((float(number) * (1024 if unit == "GiB" else 1) for number, unit in found), default=None)

    @property
    def parameters(self) -> int | None:
        found = re.search(r"\((\d+) parameters\) on ", self.log)
        return int(found.group(1)) if found else None

    @property
    def report(self) -> Path | None:
        """The folder that `evaluate --report` filled."""
        path = self.folder / "report"
        return path if (path / "report.json").is_file() else None

    @property
    def complete(self) -> bool:
        """Whether it came to its end: all epochs, or fewer where it was told to stop early."""
        if (self.folder / MARKER).is_file() or self.epochs >= int(self.params.get("num_epochs", 1)):
            return True
        lines = self.log.splitlines()
        return bool(lines) and "  stopped early after epoch " in lines[-1]


def find_runs(roots: Iterable[Path]) -> list[Run]:
    """Every folder with params.json and metrics.csv under `roots`, sorted by path, with teachers and names.

    Throws RunError for a root that is not there and for a file that cannot be read."""
    folders: dict[Path, None] = {}
    for root in roots:
        if not root.is_dir():
            raise RunError(f"{root}: there is no such folder; give folders of runs")
        for path, below, files in os.walk(root):
            below[:] = sorted(name for name in below if not name.startswith(".") and name != "report")
            if "params.json" in files and "metrics.csv" in files:
                folders[Path(path).resolve()] = None
    runs = [read_run(folder) for folder in sorted(folders)]
    find_teachers(runs)
    name_cells(runs)
    return runs


def read_run(folder: Path) -> Run:
    """The run in a folder, without its teacher and its name."""
    try:
        params = json.loads((folder / "params.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{folder / 'params.json'}: {reason(error)}") from None
    if not isinstance(params, dict):
        raise RunError(f"{folder / 'params.json'}: expected a JSON object, found a {type(params).__name__}")
    try:
        metrics = pandas.read_csv(folder / "metrics.csv")
    except (OSError, ValueError) as error:
        raise RunError(f"{folder / 'metrics.csv'}: {reason(error)}") from None
    metrics = metrics.rename(columns=lambda name: re.sub("_accuracy$", "_top1_percent", name))  # its earlier name
    for column in ("epoch", "test_loss", "test_top1_percent", "seconds"):
        if column not in metrics:
            raise RunError(f"{folder / 'metrics.csv'}: expected a column {column}, found {', '.join(metrics.columns)}")
    seed = params.get("seed", 0)
    if not isinstance(seed, int):
        raise RunError(f"{folder / 'params.json'}: seed: expected an integer, found {json.dumps(seed)}")
    log = folder / "training.log"
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    return Run(folder, params, metrics, stage_of(params), seed, text)


def stage_of(params: dict[str, Any]) -> Stage:
    """By the key that names the teacher's weights."""
    for stage, (_, weights) in TEACHER_KEYS.items():
        if weights in params:
            return stage
    return "standard"


def reason(error: Exception) -> str:
    """An error in one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())


def find_teachers(runs: list[Run]) -> None:
    """Sets each run's teacher. A relative path counts from the current folder, or from a folder around the run."""
    by_folder = {run.folder: run for run in runs}
    for run in runs:
        if run.stage == "standard":
            continue
        weights = Path(str(run.params[TEACHER_KEYS[run.stage][1]]))
        for base in (Path.cwd(), *run.folder.parents):
            teacher = by_folder.get(Path(os.path.normpath(base / weights)).parent.resolve())
            if teacher is not None and teacher is not run:
                run.teacher = teacher
                teacher.pupils.append(run)
                break


def cell(run: Run) -> str:
    """What a run is but for its seed: "standard resnet14", "generous resnet14", "resnet8 alone" or "resnet8 kd of
    generous resnet14". The settings in which runs of otherwise equal names differ are appended."""
    return run.name


def name_cells(runs: list[Run]) -> None:
    """Names each run for cell(); teachers first, because their names are a part of their pupils'."""
    for stage in ("standard", "generous", "student"):
        named = defaultdict(list)
        for run in runs:
            if run.stage == stage:
                named[base_name(run)].append(run)
        for name, group in named.items():
            differing = differing_settings(group)
            teachers = {run.teacher.name for run in group if run.teacher}
            for run in group:
                given = [f"{key} {text_of(run.params[key])}" for key in differing if key in run.params]
                if stage == "generous" and len(teachers) > 1 and run.teacher:
                    given.insert(0, f"of {run.teacher.name}")
                run.name = f"{name} ({', '.join(given)})" if given else name
    tell_copies_apart(runs)


def base_name(run: Run) -> str:
    if run.stage == "standard":
        return f"standard {run.model}" if run.pupils else f"{run.model} alone"
    teacher_model = str(run.params.get(TEACHER_KEYS[run.stage][0], "?"))
    if run.stage == "generous":
        return f"generous {run.model}" + ("" if teacher_model == run.model else f" of {teacher_model}")
    return f"{run.model} {run.method} of {run.teacher.name if run.teacher else teacher_model}"


def differing_settings(runs: list[Run]) -> list[str]:
    """The keys, in the order of params.json, that have more than one value, or that only some have: some settings are
    left out where they have their default."""
    keys = dict.fromkeys(key for run in runs for key in run.params if key not in PLACES)
    return [key for key in keys if len({json.dumps(run.params.get(key)) for run in runs}) > 1]


def text_of(value: Any) -> str:
    """A setting's value as in a flag."""
    if isinstance(value, list):
        return ",".join(text_of(item) for item in value)
    return str(value)


def tell_copies_apart(runs: list[Run]) -> None:
    """Appends the folder to the names of runs that are equal, their seed included."""
    copies = defaultdict(list)
    for run in runs:
        copies[run.name, run.seed].append(run)
    for same in copies.values():
        if len(same) > 1:
            shared = os.path.commonpath([run.folder for run in same])
            for run in same:
                run.name += f" in {os.path.relpath(run.folder, shared)}"
