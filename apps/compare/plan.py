"""The runs of a grid: their folders, what each needs first, and the programs' flags."""
from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from grid import Grid, Method, Settings, Student, Teacher
from places import GridError
from programs import Programs

# Where each dataset is if the grid does not say: Debian's package, and where data/download.sh puts it.
DATA_FOLDERS = {
    "fashion_mnist": ("/usr/share/datasets/fashion-mnist", "datasets/fashion-mnist"),
    "cifar10": ("datasets/cifar10",),
    "cifar100": ("datasets/cifar100",),
    "tiny_imagenet": ("datasets/tiny-imagenet-200",),
}
# Settings of a training that are none of its evaluation, though `evaluate` has a flag of that name.
OF_TRAINING_ALONE = {"batch_size", "num_workers", "normalisation", "paper_metrics"}


@dataclass(frozen=True)
class Definition:
    """Everything that decides a run but its seed, and nothing else: what it is called on the disk."""
    program: str
    readable: str  # begins the folder's name, for people
    flags: tuple[tuple[str, str], ...]
    teacher: Definition | None
    teacher_weights: str  # best or last
    data: str             # the images

    @property
    def hash(self) -> str:
        decisive = {"program": self.program, "flags": sorted(self.flags), "data": self.data}
        if self.teacher:
            decisive |= {"teacher": self.teacher.hash, "teacher_weights": self.teacher_weights}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class PlannedRun:
    """A run of the grid, ready for its programs; paths are relative to the grid's folder."""
    folder: str
    seed: int
    teacher: str | None      # the folder of the run that must be there first
    program: str
    train: list[str]         # flags, without --save_path and --resume
    evaluate: list[str]      # flags, without the weights
    weights: str             # which are evaluated: best or last
    epochs: int


def data_folder(grid: Grid, checkout: Path) -> Path:
    """Where the grid's images are, or where they belong if they are nowhere yet. Relative ones count from the
    checkout."""
    if grid.data_dir is not None:
        return checkout / grid.data_dir
    if grid.dataset not in DATA_FOLDERS:
        raise GridError(f"{grid.file}: the key data_dir is missing: {grid.dataset} has no folder of its own")
    candidates = [checkout / folder for folder in DATA_FOLDERS[grid.dataset]]
    return next((folder for folder in candidates if folder.is_dir()), candidates[-1])


class Planner:
    """Makes the runs of a grid, and checks every flag with the programs."""

    def __init__(self, grid: Grid, programs: Programs, checkout: Path):
        self.grid = grid
        self.programs = programs
        self.data = data_folder(grid, checkout)
        # A named dataset is the same wherever it lies; of class folders only their place tells them apart.
        self.images = f"{grid.dataset} {grid.data_dir}" if grid.dataset not in DATA_FOLDERS else grid.dataset

    def runs(self) -> list[PlannedRun]:
        """In the order in which they are best run; each once."""
        teachers: dict[str, Definition] = {}
        for teacher in sorted(self.grid.teachers, key=lambda teacher: teacher.of is not None):
            teachers[teacher.name] = self.teacher(teacher, teachers)
        definitions = list(teachers.values())
        for student in self.grid.students:
            for method in self.grid.methods:
                definitions += [self.student(student, method, name, teachers[name]) for name in method.teachers]
        if self.grid.alone:
            definitions += [self.alone(student, definitions) for student in self.grid.students]
        unique = {definition.hash: definition for definition in reversed(definitions)}
        ordered = sorted(unique.values(), key=definitions.index)
        return [self.run(definition, seed) for definition in ordered for seed in self.grid.seeds]

    def teacher(self, teacher: Teacher, earlier: dict[str, Definition]) -> Definition:
        model = self.programs.check_model(teacher.model)
        settings = {**self.grid.settings, **teacher.settings}
        if teacher.of is None:
            return self.define("train_standard", model, model, settings, None)
        standard = earlier[teacher.of]
        readable = f"{model}-of-{standard.readable}"
        return self.define("train_generous", model, readable, settings, standard, ("adversarial", standard))

    def student(self, student: Student, method: Method, teacher_name: str, teacher: Definition) -> Definition:
        model = self.programs.check_model(student.model)
        settings = {**self.grid.settings, **student.settings, **method.settings}
        settings["method"] = method.method
        kind = "generous-" if teacher.program == "train_generous" else ""
        methods = method.method.setting().replace(",", "+")
        readable = f"{model}-{methods}-of-{kind}{dict(teacher.flags)['model_name']}"
        return self.define("train_kd", model, readable, settings, teacher, ("teacher", teacher))

    def alone(self, student: Student, others: list[Definition]) -> Definition:
        """A student without a teacher; a standard teacher that is the same run."""
        model = self.programs.check_model(student.model)
        settings = {**self.grid.settings, **student.settings}
        alone = self.define("train_standard", model, f"{model}-alone", settings, None)
        return next((other for other in others if other.hash == alone.hash), alone)

    def define(self, program: str, model: str, readable: str, settings: Settings, teacher: Definition | None,
               learns_from: tuple[str, Definition] | None = None) -> Definition:
        flags = {"model_name": model, **{key: item.setting() for key, item in settings.items()},
                 "threads": str(self.grid.threads)}
        if learns_from:
            prefix, network = learns_from
            theirs = dict(network.flags)
            flags[f"{prefix}_model"] = theirs["model_name"]
            for key in self.programs.model_settings(theirs["model_name"]) & theirs.keys():
                if flags.setdefault(key, theirs[key]) != theirs[key]:
                    settings[key].fail(f"is {flags[key]} here and {theirs[key]} of the teacher; the programs have one "
                                       "for both networks")
        definition = Definition(program, re.sub(r"[^\w.+-]", "_", readable), tuple(flags.items()), teacher,
                                self.grid.weights, self.images)
        self.check(definition, settings)
        return definition

    def check(self, definition: Definition, settings: Settings) -> None:
        """Throws GridError with the place of the flag that the program refuses."""
        flags = [f"--dataset={self.grid.dataset}", *(f"--{key}={value}" for key, value in definition.flags)]
        if definition.teacher:
            flags.append(f"--{teacher_key(definition)}=x")
        complaint = self.programs.complaint(definition.program, tuple(flags))
        if not complaint:
            return
        for key in re.findall(r"--(\w[\w.]*)", complaint):
            if key in settings:
                settings[key].fail(f"{definition.program}: {complaint}")
        raise GridError(f"{self.grid.file}: {definition.readable}: {definition.program}: {complaint}")

    def run(self, definition: Definition, seed: int) -> PlannedRun:
        data = [f"--dataset={self.grid.dataset}", f"--data_dir={self.data}"]
        flags = [f"--{key}={value}" for key, value in definition.flags]
        teacher, of_teacher = None, []
        if definition.teacher:
            teacher = folder_of(definition.teacher, seed)
            weights = f"{teacher}/{definition.teacher_weights}_model.safetensors"
            of_teacher = [f"--{teacher_key(definition)}={weights}"]
        own = dict(definition.flags)
        epochs = int(own.get("num_epochs") or self.programs.epochs(definition.program, tuple(flags + data[:1])))
        return PlannedRun(folder_of(definition, seed), seed, teacher, definition.program,
                          [*data, *flags, f"--seed={seed}", *of_teacher],
                          self.evaluation_flags(definition, data, of_teacher), self.grid.weights, epochs)

    def evaluation_flags(self, definition: Definition, data: list[str], of_teacher: list[str]) -> list[str]:
        """A student is evaluated beside its teacher."""
        own = dict(definition.flags)
        networks = [f"--{key}={own[key]}" for key in ("model_name", "teacher_model") if key in own]
        known = self.programs.flags_of("evaluate", tuple(networks)) - OF_TRAINING_ALONE
        report = [f"--report_{key}={count}" for key, count in self.grid.report.items()]
        return [*data, *(f"--{key}={value}" for key, value in definition.flags if key in known),
                *(of_teacher if definition.program == "train_kd" else []), *report]


def teacher_key(definition: Definition) -> str:
    """The flag for its teacher's weights."""
    return "teacher_resume" if definition.program == "train_kd" else "adversarial_resume"


def folder_of(definition: Definition, seed: int) -> str:
    kind = {"train_standard": "alone" if definition.readable.endswith("-alone") else "standard",
            "train_generous": "generous", "train_kd": "students"}[definition.program]
    return f"{kind}/{definition.readable}-{definition.hash}/seed{seed}"


def write_plan(path: Path, grid: Grid, programs: Programs, runs: list[PlannedRun]) -> None:
    """What the Snakefile and the jobs read: a grid that is edited while it runs changes nothing before the next
    start."""
    plan = {"grid": grid.name, "file": str(grid.file), "programs": str(programs.folder), "threads": grid.threads,
            "runs": [asdict(run) for run in runs]}
    replace_file(path, json.dumps(plan, indent=1) + "\n")


def replace_file(path: Path, text: str) -> None:
    """Writes a file in one step: whoever reads it sees the earlier one or the new one."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
