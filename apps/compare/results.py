"""The results of a grid: results.csv, a row a run, and tables for people (Markdown) and for papers (LaTeX)."""
from __future__ import annotations

from pathlib import Path
from typing import Sequence

import pandas

from plan import PlannedRun, replace_file
from runs import PLACES, Run, cell, find_teachers, name_cells, read_run, text_of
from tables import latex, markdown
from train import MARKER

IN_COLUMNS = PLACES | {"model_name", "method", "teacher_model", "adversarial_model"}  # settings under other names


def write(name: str, folder: Path, planned: Sequence[PlannedRun]) -> None:
    """Writes results.csv, table.md and table.tex into the grid's folder from the runs that are done."""
    done = [run for run in planned if (folder / run.folder / MARKER).is_file()]
    runs = [read_run((folder / run.folder).resolve()) for run in done]
    find_teachers(runs)
    name_cells(runs)
    missing = [run.folder for run in planned if run not in done]
    for file, text in (("results.csv", frame_of(runs, folder.resolve()).to_csv(index=False)),
                       ("table.md", markdown(name, runs, missing)), ("table.tex", latex(name, runs, missing))):
        path = folder / file
        if not path.is_file() or path.read_text(encoding="utf-8") != text:  # else it keeps its time
            replace_file(path, text)


def frame_of(runs: Sequence[Run], folder: Path) -> pandas.DataFrame:
    """A row a run: what it is, what it reached, what it cost, and its settings."""
    return pandas.DataFrame([row_of(run, folder) for run in runs])


def row_of(run: Run, folder: Path) -> dict[str, object]:
    best, last = run.best(), run.last()
    row: dict[str, object] = {
        "run": str(run.folder.relative_to(folder)),
        "stage": run.stage,
        "cell": cell(run),
        "model": run.model,
        "method": run.method,
        "teacher": cell(run.teacher) if run.teacher else "",
        "teacher_run": str(run.teacher.folder.relative_to(folder)) if run.teacher else "",
        "seed": run.seed,
        "parameters": run.parameters,
        "epochs": run.epochs,
        "best_chosen_by": "validation" if run.validated else "test",
    }
    for when, score in (("last", last), ("best", best)):
        row |= {f"{when}_epoch": score.epoch if score else None, f"{when}_accuracy": score.accuracy if score else None,
                f"{when}_loss": score.loss if score else None,
                f"{when}_validation_accuracy": score.validation if score else None}
    if "ema_top1_percent" in run.metrics and run.epochs:
        row["last_ema_accuracy"] = float(run.metrics["ema_top1_percent"].iloc[-1])
    row |= {"seconds": round(run.seconds, 3), "memory_mib": run.memory_mib}
    return row | {key: text_of(value) for key, value in run.params.items() if key not in IN_COLUMNS}


def words_of(folder: Path) -> str:
    """What a run reached, in a line."""
    run = read_run(folder)
    best, last = run.best(), run.last()
    return f"last {last.accuracy:.2f} %, best {best.accuracy:.2f} % in epoch {best.epoch}" if best and last else ""
