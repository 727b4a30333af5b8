"""How far the runs of a grid are, and about how long the rest takes."""
from __future__ import annotations

import csv
import fcntl
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal, Sequence

from plan import PlannedRun
from train import FAILURE, MARKER

Kind = Literal["done", "running", "failed", "interrupted", "waiting"]


@dataclass(frozen=True)
class State:
    run: PlannedRun
    kind: Kind
    epochs: int           # done
    seconds: list[float]  # of each epoch whose time is known

    @property
    def left(self) -> int:
        """Epochs still to be trained."""
        return 0 if self.kind == "done" else max(self.run.epochs - self.epochs, 0)


def state_of(run: PlannedRun, grid_folder: Path) -> State:
    folder = grid_folder / run.folder
    kind: Kind = "waiting"
    if is_locked(folder / ".job"):
        kind = "running"
    elif (folder / MARKER).is_file():
        kind = "done"
    elif (folder / FAILURE).is_file():
        kind = "failed"
    elif (folder / "training_state.safetensors").is_file():
        kind = "interrupted"
    rows = read_rows(folder / "metrics.csv")
    return State(run, kind, len(rows), [float(row["seconds"]) for row in rows if row.get("seconds")])


def read_rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        return []


def is_locked(path: Path) -> bool:
    """Whether a job holds this lock. Jobs wait for it, so that looking does no harm."""
    try:
        with path.open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def states_of(runs: Sequence[PlannedRun], grid_folder: Path) -> list[State]:
    return [state_of(run, grid_folder) for run in runs]


def seconds_left(states: Sequence[State], at_once: int) -> float | None:
    """From the epochs measured so far: of the run itself, else of its cell's other seeds, its program, any. Their median:
    an epoch on a machine that others used, or that slept, says nothing about the next. None before the first one."""
    def measured(same: object) -> list[float]:
        return [second for state in states if same in (state.run.folder, cell_of(state), state.run.program, "any")
                for second in state.seconds]

    work = 0.0
    for state in states:
        known = next(filter(None, map(measured, (state.run.folder, cell_of(state), state.run.program, "any"))), None)
        if state.left and known is None:
            return None
        work += state.left * median(known) if state.left and known else 0.0
    return work / at_once


def cell_of(state: State) -> str:
    """The folder of all seeds of a run."""
    return state.run.folder.rpartition("/")[0]


def duration(seconds: float) -> str:
    """ "0:45", "2:03:10" """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def summary_line(states: Sequence[State], at_once: int) -> str:
    """ "3 of 14 done, 2 running, 1 failed, 8 left; about 12:10 to go" """
    count = {kind: sum(state.kind == kind for state in states) for kind in ("done", "running", "failed")}
    waiting = len(states) - sum(count.values())
    parts = [f"{count['done']} of {len(states)} done"]
    parts += [f"{number} {kind}" for kind, number in (*list(count.items())[1:], ("left", waiting)) if number]
    left = seconds_left([state for state in states if state.kind != "failed"], at_once)
    if left:
        return f"{', '.join(parts)}; about {duration(left)} to go"
    return ", ".join(parts)


def running_lines(states: Sequence[State]) -> list[str]:
    return [f"  running  {state.run.folder}  epoch {min(state.epochs + 1, state.run.epochs)} of {state.run.epochs}"
            for state in states if state.kind == "running"]


def table(states: Sequence[State], grid_folder: Path) -> list[str]:
    """A line a run."""
    lines = []
    for state in states:
        note = f"epoch {state.epochs} of {state.run.epochs}" if state.kind != "done" else \
            f"{state.epochs} epochs in {duration(sum(state.seconds))}"
        if state.kind == "failed":
            note += "  " + failure(state, grid_folder)
        lines.append(f"  {state.kind:<11}  {state.run.folder}  {note}")
    return lines


def failure(state: State, grid_folder: Path) -> str:
    """Why a run failed, in one line."""
    try:
        return (grid_folder / state.run.folder / FAILURE).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return "its process was killed"


def now() -> str:
    return time.strftime("%H:%M:%S")
