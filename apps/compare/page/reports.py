"""A report folder of `evaluate --report`, read where it is asked for. Percent as there: top1, top5,
agreement; between 0 and 1: confidences, calibration errors."""
import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy
import pandas

from runs import Run, RunError, reason


class Report:
    """Every property throws RunError, one line with the file's name, if its file is not what it should be."""

    def __init__(self, folder: Path):
        self.folder = folder

    @cached_property
    def summary(self) -> dict[str, Any]:
        """report.json"""
        path = self.folder / "report.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"{path}: {reason(error)}") from None
        if not isinstance(found, dict) or not isinstance(found.get("classes"), list):
            raise RunError(f"{path}: expected a JSON object with a list 'classes'")
        return found

    def value(self, *keys: str) -> float | None:
        """A number of report.json, of "teacher", "kl" for example; None if it is not there."""
        found: Any = self.summary
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        return float(found) if isinstance(found, (int, float)) else None

    @property
    def classes(self) -> list[str]:
        return [str(name) for name in self.summary["classes"]]

    @cached_property
    def by_class(self) -> pandas.DataFrame:
        return self._table("classes.csv", ("name", "images", "top1"))

    @cached_property
    def calibration(self) -> pandas.DataFrame:
        return self._table("calibration.csv", ("images", "confidence", "accuracy"))

    @cached_property
    def worst(self) -> pandas.DataFrame:
        """Its rows are in the order of falling loss."""
        return self._table("worst.csv", ("image", "label", "predicted", "confidence"))

    @cached_property
    def features(self) -> pandas.DataFrame | None:
        """None if they were not asked for."""
        return self._optional("features.csv", ("image", "label", "f0"))

    @cached_property
    def confusion(self) -> numpy.ndarray:
        """{classes, classes}: in percent of a label's images; a class without images has zeros."""
        counts = self._matrix("confusion.csv")
        return 100 * counts / numpy.maximum(counts.sum(axis=1, keepdims=True), 1)

    @cached_property
    def class_logits(self) -> numpy.ndarray:
        """{classes, classes}: mean logits of the images of each class; nan for a class without images."""
        return self._matrix("class_logits.csv")

    @cached_property
    def class_logit_differences(self) -> numpy.ndarray | None:
        """The same, less the teacher's; None of a report without a teacher."""
        name = "class_logit_differences.csv"
        return self._matrix(name) if (self.folder / name).is_file() else None

    def picture(self, image: int) -> bytes | None:
        """The PNG file of one of the worst images."""
        path = self.folder / "worst" / f"{image}.png"
        return path.read_bytes() if path.is_file() else None

    def _matrix(self, name: str) -> numpy.ndarray:
        classes = len(self.classes)
        matrix = self._table(name, ("label",)).iloc[:, 1:].to_numpy(dtype=float)
        if matrix.shape != (classes, classes):
            raise RunError(f"{self.folder / name}: expected {classes} rows of {classes} values, one for each "
                           f"class of report.json, found {matrix.shape[0]} of {matrix.shape[1]}")
        return matrix

    def _optional(self, name: str, columns: tuple[str, ...]) -> pandas.DataFrame | None:
        return self._table(name, columns) if (self.folder / name).is_file() else None

    def _table(self, name: str, columns: tuple[str, ...]) -> pandas.DataFrame:
        path = self.folder / name
        try:
            table = pandas.read_csv(path, keep_default_na=False, na_values=[""])
        except (OSError, ValueError) as error:
            raise RunError(f"{path}: {reason(error)}") from None
        for column in columns:
            if column not in table:
                found = ", ".join(map(str, table.columns))
                raise RunError(f"{path}: expected a column {column}, found {found}")
        return table


def reports_of(runs: list[Run]) -> list[Report]:
    return [Report(run.report) for run in runs if run.report]
