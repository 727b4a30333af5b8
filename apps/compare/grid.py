"""A grid of runs, as its file describes it: apps/compare/grids/tiny.yaml shows every part."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Sequence, TypeVar

from places import GridError, Item, nearest, read_yaml

KEYS = ("name", "dataset", "data_dir", "settings", "teachers", "students", "methods", "alone", "seeds", "threads",
        "weights", "report")
# Flags of the programs that the grid itself gives, and where they come from.
GIVEN = {
    "save_path": "the grid chooses the folders", "resume": "the grid goes on by itself", "list": "it stops the program",
    "seed": "it belongs under seeds", "threads": "it belongs beside settings", "dataset": "it belongs beside settings",
    "data_dir": "it belongs beside settings", "model_name": "it belongs under model",
    "method": "it belongs beside settings", "weights": "it belongs beside settings",
    "adversarial_model": "it is the teacher's named under of",
    "adversarial_resume": "it is the teacher's named under of",
    "teacher_model": "it belongs under teachers", "teacher_resume": "it belongs under teachers",
}
LARGEST_SEED = 2**53 - 1
Settings = dict[str, Item]  # by flag, in the order of the file


@dataclass(frozen=True)
class Teacher:
    """A standard teacher; a generous one where `of` names the standard one from which it learns."""
    name: str
    model: Item
    of: str | None
    settings: Settings


@dataclass(frozen=True)
class Student:
    model: Item
    settings: Settings


@dataclass(frozen=True)
class Method:
    """A way to distil: the program's method and its settings, from some of the teachers."""
    name: str
    method: Item
    settings: Settings
    teachers: list[str]


@dataclass(frozen=True)
class Grid:
    file: Path
    name: str
    dataset: str
    data_dir: str | None  # as it stands in the file
    settings: Settings    # of every run
    teachers: list[Teacher]
    students: list[Student]
    methods: list[Method]
    alone: bool           # whether each student is also trained without a teacher
    seeds: list[int]
    threads: int          # of each run: the bits depend on them
    weights: str          # of a teacher, the ones that teach and are evaluated: best or last
    report: dict[str, int]


def read_grid(path: Path) -> Grid:
    """Throws GridError with the place of the first mistake."""
    top = read_yaml(path).mapping(KEYS, ("dataset", "teachers", "students", "methods", "seeds"))
    teachers = read_list(top["teachers"], read_teacher, lambda teacher: teacher.name)
    check_standard_teachers(top["teachers"], teachers)
    names = [teacher.name for teacher in teachers]
    students = read_list(top["students"], read_student, lambda student: "")
    methods = read_list(top["methods"], lambda item: read_method(item, names), lambda method: method.name)
    if "name" not in top and not path.stem:
        raise GridError(f"{path}: the grid has no name: give the key name")
    return Grid(file=path,
                name=top["name"].name() if "name" in top else path.stem,
                dataset=top["dataset"].text(),
                data_dir=top["data_dir"].text() if "data_dir" in top else None,
                settings=read_settings(top),
                teachers=teachers,
                students=students,
                methods=methods,
                alone=top["alone"].switch() if "alone" in top else True,
                seeds=read_seeds(top["seeds"]),
                threads=top["threads"].integer(1, 1024) if "threads" in top else 1,
                weights=top["weights"].choice(("best", "last")) if "weights" in top else "last",
                report=read_report(top["report"]) if "report" in top else {})


T = TypeVar("T")


def read_list(item: Item, read: Callable[[Item], T], name_of: Callable[[T], str]) -> list[T]:
    """At least one, each name once."""
    found: list[T] = []
    for entry in item.sequence():
        value = read(entry)
        name = name_of(value)
        if name and name in map(name_of, found):
            entry.fail(f"the name {name} is given twice; give one of them another name")
        found.append(value)
    if not found:
        item.fail("expected at least one, found none")
    return found


def read_teacher(item: Item) -> Teacher:
    entries = item.mapping(("name", "model", "of", "settings"), ("model",))
    of = entries["of"].name() if "of" in entries else None
    default = entries["model"].text() if of is None else f"generous-{entries['model'].text()}"
    return Teacher(entries["name"].name() if "name" in entries else default, entries["model"], of,
                   read_settings(entries))


def check_standard_teachers(item: Item, teachers: Sequence[Teacher]) -> None:
    standard = [teacher.name for teacher in teachers if teacher.of is None]
    for entry, teacher in zip(item.sequence(), teachers):
        if teacher.of is not None and teacher.of not in standard:
            entry.mapping()["of"].fail(f"there is no standard teacher {teacher.of}{nearest(teacher.of, standard)}")


def read_student(item: Item) -> Student:
    entries = item.mapping(("model", "settings"), ("model",))
    return Student(entries["model"], read_settings(entries))


def read_method(item: Item, teachers: list[str]) -> Method:
    entries = item.mapping(("name", "method", "settings", "teachers"))
    if "name" not in entries and "method" not in entries:
        item.fail("the key name is missing")
    method = entries["method" if "method" in entries else "name"]
    name = entries["name"].name() if "name" in entries else method.setting().replace(",", "+")
    chosen = [entry.choice(teachers) for entry in entries["teachers"].sequence()] if "teachers" in entries else teachers
    if not chosen or len(set(chosen)) < len(chosen):
        entries["teachers"].fail("expected at least one teacher, each once")
    return Method(name, method, read_settings(entries), chosen)


def read_settings(entries: dict[str, Item]) -> Settings:
    """Of the key settings, where it is there."""
    if "settings" not in entries:
        return {}
    settings = entries["settings"].mapping()
    for key, item in settings.items():
        if key in GIVEN:
            item.fail(f"is no setting of a grid: {GIVEN[key]}")
        item.setting()
    return settings


def read_seeds(item: Item) -> list[int]:
    seeds: list[int] = []
    for entry in item.sequence():
        seed = entry.integer(0, LARGEST_SEED)
        if seed in seeds:
            entry.fail(f"the seed {seed} is given twice")
        seeds.append(seed)
    if not seeds:
        item.fail("expected at least one, found none")
    return seeds


def read_report(item: Item) -> dict[str, int]:
    """How many images' features and how many of the worst images `evaluate --report` keeps."""
    return {key: entry.integer(0, 10**9) for key, entry in item.mapping(("features", "worst")).items()}
