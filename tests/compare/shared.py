"""What the tests of apps/compare share: its modules, programs that accept anything, and made-up run folders."""
from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Sequence

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "apps" / "compare"))


def fault_runs() -> ModuleType:
    """tests/faults/runs.py, which has the name of a module of apps/compare."""
    spec = importlib.util.spec_from_file_location("fault_runs", ROOT / "tests" / "faults" / "runs.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class AnyPrograms:
    """Accepts every setting and every network, as the real programs accept right ones."""
    folder = Path("/programs")

    def __init__(self, model_settings: dict[str, set[str]] | None = None, complaints: dict[str, str] | None = None):
        self.settings = model_settings or {}
        self.complaints = complaints or {}  # what is said of a flag

    def check_model(self, item: Any) -> str:
        return item.text()

    def model_settings(self, model: str) -> set[str]:
        return self.settings.get(model, set())

    def complaint(self, program: str, flags: Sequence[str]) -> str:
        return next((text for start, text in self.complaints.items() if any(flag.startswith(start) for flag in flags)),
                    "")

    def flags_of(self, program: str, flags: Sequence[str] = ()) -> set[str]:
        return {"model_name", "teacher_model", "threads", "dtype", "batch_size", "dataset", "data_dir"}

    def epochs(self, program: str, flags: Sequence[str]) -> int:
        return 160


def make_run(folder: Path, seed: int, accuracies: Sequence[float], *, validation: Sequence[float] | None = None,
             log: str = "", seconds: Sequence[str] | None = None, **params: Any) -> Path:
    """A run folder with these test accuracies, an epoch each."""
    folder.mkdir(parents=True)
    settings = {"model_name": "resnet8", "dataset": "cifar10", "data_dir": "d", "num_epochs": len(accuracies),
                "learning_rate": 0.1, "seed": seed, **params}
    (folder / "params.json").write_text(json.dumps(settings), encoding="utf-8")
    lines = ["epoch,lr,train_loss,test_loss,test_top1_percent" + (",validation_top1_percent" if validation else "") +
             ",images_per_s,seconds"]
    for index, accuracy in enumerate(accuracies):
        chosen = [str(validation[index])] if validation else []
        lines.append(",".join([str(index + 1), "0.1", "1", str(2 - accuracy / 100), str(accuracy), *chosen, "100",
                               seconds[index] if seconds else "2.5"]))
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "training.log").write_text(log, encoding="utf-8")
    return folder
