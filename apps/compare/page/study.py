"""The runs of a study, ordered by what they are: configurations (runs that differ in nothing but the
seed), and comparisons of a student by its teachers."""
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

from runs import Run, cell
from summary import Gain, alone, counterpart, gain_over

ROLE_ORDER = ("standard teacher", "generous teacher", "alone", "student of standard", "student of generous",
              "student of another teacher")


@dataclass(frozen=True, eq=False)
class Configuration:
    """Runs that differ in nothing but the seed, sorted by it. role: one of theme.ROLES."""
    name: str
    role: str
    runs: list[Run]

    @property
    def reported(self) -> list[Run]:
        """The runs with a report folder."""
        return [run for run in self.runs if run.report]


@dataclass(frozen=True, eq=False)
class Comparison:
    """A student in the same settings: alone, of a standard teacher, and of the generous one that learned
    from it."""
    name: str
    alone: Configuration | None
    standard: Configuration | None
    generous: Configuration | None

    @property
    def configurations(self) -> list[Configuration]:
        return [each for each in (self.alone, self.standard, self.generous) if each]


@dataclass(frozen=True, eq=False)
class Study:
    """The runs to compare, and those that are left out."""
    runs: list[Run]
    unfinished: list[Run] = field(default_factory=list)

    @classmethod
    def of(cls, runs: Iterable[Run]) -> "Study":
        """Of those that are at their end: others' last epochs are not comparable. Where none is, of all
        that have an epoch behind them."""
        found = list(runs)
        chosen = [run for run in found if run.epochs and run.complete] or [run for run in found if run.epochs]
        return cls(chosen, [run for run in found if run not in chosen])

    @cached_property
    def validated(self) -> bool:
        """Whether images held out chose the best epoch of every run, so that its test accuracy is an
        honest one. Otherwise conclusions rest on the last epoch: the best one is chosen on the test
        images."""
        return bool(self.runs) and all(run.validated for run in self.runs)

    def accuracy(self, run: Run) -> float:
        """What conclusions rest on, in percent of the test images."""
        return (run.best() if self.validated else run.last()).accuracy

    @property
    def accuracy_words(self) -> str:
        return ("test accuracy of the epoch that the validation images chose" if self.validated
                else "test accuracy of the last epoch")

    @cached_property
    def configurations(self) -> list[Configuration]:
        """By role, in the order of ROLE_ORDER, then by name."""
        grouped: dict[str, list[Run]] = defaultdict(list)
        for run in self.runs:
            grouped[cell(run)].append(run)
        found = [Configuration(name, role_of(runs), sorted(runs, key=lambda run: run.seed))
                 for name, runs in grouped.items()]
        return sorted(found, key=lambda each: (ROLE_ORDER.index(each.role), each.name))

    @cached_property
    def reported(self) -> list[Configuration]:
        """Those of which a run has a report folder."""
        return [each for each in self.configurations if each.reported]

    def of_role(self, *roles: str) -> list[Configuration]:
        return [each for each in self.configurations if each.role in roles]

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """One for each student of a generous teacher; and one for each student of a standard teacher that
        no generous one's is compared with."""
        found = [self._comparison(each) for each in self.of_role("student of generous")]
        compared = {id(each.standard) for each in found}
        found += [self._comparison(each) for each in self.of_role("student of standard")
                  if id(each) not in compared]
        plain = [each.name for each in found]
        named = [replace(each, name=self._with_teacher(each)) if plain.count(each.name) > 1 else each
                 for each in found]
        return sorted(named, key=lambda each: each.name)

    def _comparison(self, student: Configuration) -> Comparison:
        first = student.runs[0]
        name = cell(first).replace(f" of {cell(first.teacher)}", "", 1)
        beside = self._beside(student, alone)
        if student.role == "student of standard":
            return Comparison(name, beside, student, None)
        return Comparison(name, beside, self._beside(student, counterpart), student)

    def _beside(self, student: Configuration, reference: Callable[[Run, list[Run]], Run | None]
                ) -> Configuration | None:
        """The configuration that `reference` finds for the first run for which it finds one."""
        for run in student.runs:
            other = reference(run, self.runs)
            if other is not None:
                return next(each for each in self.configurations if other in each.runs)
        return None

    @staticmethod
    def _with_teacher(comparison: Comparison) -> str:
        teacher = (comparison.generous or comparison.standard).runs[0].teacher
        return f"{comparison.name}, {cell(teacher)}"

    def generous_gain(self, comparison: Comparison) -> Gain | None:
        """Of the generous teacher's student over the standard one's, paired by seed, in points."""
        if not comparison.generous or not comparison.standard:
            return None
        return gain_over(comparison.generous.runs, lambda run: counterpart(run, self.runs), self.accuracy)

    def gain_over_alone(self, student: Configuration) -> Gain | None:
        """Of a student over the same one without a teacher, paired by seed, in points."""
        return gain_over(student.runs, lambda run: alone(run, self.runs), self.accuracy)

    def without_report(self) -> str:
        """A sentence on the runs without a report folder; nothing if all have one."""
        lacking = [run for run in self.runs if not run.report]
        if not lacking:
            return ""
        if len(lacking) == len(self.runs):
            return ("No run has a report folder. The grid tool has one written for each of its runs; for "
                    "others, evaluate --report RUN/report does it.")
        names = [run_name(run) for run in lacking[:6]] + (["others"] if len(lacking) > 6 else [])
        return (f"{len(lacking)} of {len(self.runs)} runs have no report folder and are left out: "
                f"{'; '.join(names)}.")


def run_name(run: Run) -> str:
    return f"{cell(run)}, seed {run.seed}"


def role_of(runs: list[Run]) -> str:
    """Of a configuration's runs. A standard run that is nobody's teacher learned alone."""
    stage = runs[0].stage
    if stage == "generous":
        return "generous teacher"
    if stage == "standard":
        return "standard teacher" if any(run.pupils for run in runs) else "alone"
    teacher = runs[0].teacher.stage if runs[0].teacher else ""
    return f"student of {teacher}" if teacher in ("standard", "generous") else "student of another teacher"
