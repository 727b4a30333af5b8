"""What the runs are: settings, versions, and the commands that repeat them."""
import json
import re
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from page.section import Section, Table, text
from page.study import Study
from runs import PLACES, TEACHER_KEYS, Run, differing_settings, text_of

ROWS = 60
COMMANDS = 120
PACKAGES = ("matplotlib", "numpy", "pandas", "scipy", "scikit-learn", "Jinja2")
PROGRAMS = {"standard": "train_standard", "generous": "train_generous", "student": "train_kd"}


def differences(study: Study) -> Section:
    made = Section("settings", "In which settings do the runs differ?",
                   "Besides the seed, only settings have a column of which runs of the same stage have "
                   "several values; a dash: the stage has no such setting. The others are named below.")
    stages = {stage: [run for run in study.runs if run.stage == stage] for stage in PROGRAMS}
    differing = [key for runs in stages.values() for key in differing_settings(runs)]
    keys = list(dict.fromkeys(["model_name", *differing]))
    rows = [[text(each.name, heading=True), text(", ".join(str(run.seed) for run in each.runs)),
             *(text(text_of(params[key]) if key in params else "–") for params in (each.runs[0].params,)
               for key in keys)]
            for each in study.configurations[:ROWS]]
    made.tables.append(Table("Settings that differ", ["configuration", "seeds", *keys], rows))
    if len(study.configurations) > ROWS:
        made.notes.append(f"{len(study.configurations) - ROWS} further configurations are left out.")
    everywhere = common_settings(study.runs, without=keys)
    made.notes.append(f"The same in all runs: {words_of(everywhere)}.")
    for stage, runs in stages.items():
        own = common_settings(runs, without=[*keys, *everywhere])
        if own:
            made.notes.append(f"In all runs of the {stage} stage: {words_of(own)}.")
    return made


def common_settings(runs: list[Run], without: list[str]) -> dict[str, Any]:
    """Those that have the same value in all runs."""
    return {key: value for key, value in (runs[0].params if runs else {}).items()
            if key not in without and key not in PLACES and all(run.params.get(key) == value for run in runs)}


def words_of(settings: dict[str, Any]) -> str:
    return ", ".join(f"{key} {text_of(value) or 'empty'}" for key, value in settings.items())


def versions(study: Study) -> Section:
    made = Section("versions", "With what was this made?")
    rows = [["this page's program", described(Path(__file__).parent) or "not from a git checkout"],
            ["Python", sys.version.split()[0]],
            *([package, version_of(package)] for package in PACKAGES)]
    for line in sorted({found for run in study.runs for found in devices(run)})[:6]:
        rows.append(["training", line])
    made.tables.append(Table("Versions", ["what", "version"],
                             [[text(what, heading=True), text(version)] for what, version in rows]))
    return made


def version_of(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def described(folder: Path) -> str:
    """git describe of the checkout around the folder; "" without one."""
    try:
        done = subprocess.run(["git", "-C", str(folder), "describe", "--always", "--dirty", "--tags"],
                              capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def devices(run: Run) -> list[str]:
    """"CPU (oneDNN 2.6.3, AVX-512, 2 threads), f32" of its log."""
    return re.findall(r"  device \w+: (.*?)(?:;|$)", run.log, flags=re.MULTILINE)


def commands(study: Study, roots: list[Path], arguments: list[str]) -> Section:
    """roots: the folders whose runs these are; arguments: those with which the page was made."""
    made = Section("commands", "How is it repeated?",
                   "In this order, from the checkout, each into a folder NEW of its own. A run's params.json "
                   "holds all of its settings; flags win over it.")
    again = [shlex.join(["bash", "apps/compare/run.sh", grid]) for root in roots if (grid := grid_file(root))]
    lines = ["# all of it, by the grid tool", *again, "", "# or run by run"] if again else []
    ordered = sorted(study.runs, key=lambda run: list(PROGRAMS).index(run.stage))
    names = unique_names(ordered)
    lines += [line for run in ordered[:COMMANDS] for line in _run_again(run, names)]
    if len(ordered) > COMMANDS:
        made.notes.append(f"{len(ordered) - COMMANDS} further runs are left out.")
    page = shlex.join(["python3", "apps/compare/report.py", *arguments])
    made.commands = "\n".join([*lines, "", "# this page", page])
    return made


def grid_file(folder: Path) -> str:
    """The grid whose folder it is, as the grid tool noted it; "" of a folder of other runs."""
    try:
        plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(plan.get("file", "")) if isinstance(plan, dict) else ""


def unique_names(runs: list[Run]) -> dict[Path, str]:
    """A folder's name, with those of the folders around it where several are alike."""
    names: dict[Path, str] = {}
    for depth in range(1, 12):
        names = {run.folder: "/".join(run.folder.parts[-depth:]) for run in runs}
        if len(set(names.values())) == len(runs):
            break
    return names


def _run_again(run: Run, names: dict[Path, str]) -> list[str]:
    folder = f"NEW/{names[run.folder]}"
    teacher = []
    if run.teacher and run.teacher.folder in names:
        weights = Path(str(run.params[TEACHER_KEYS[run.stage][1]])).name
        teacher = [f"--{TEACHER_KEYS[run.stage][1]}", f"NEW/{names[run.teacher.folder]}/{weights}"]
    params = shlex.quote(str(run.folder / "params.json"))
    return [f"mkdir -p {shlex.quote(folder)} && cp {params} {shlex.quote(folder)}",
            shlex.join([f"build/apps/{PROGRAMS[run.stage]}", "--save_path", folder, *teacher])]
