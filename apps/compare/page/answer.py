"""The beginning of the page: the answer in a sentence, and what it rests on."""
from dataclasses import dataclass, field

from page import dots
from page.section import Cell, Figure, Table, count, listing, minus, number, text
from page.study import Comparison, Configuration, Study
from summary import Gain, counterpart, estimate, gain_of

TABLE_ROWS = 40


@dataclass(frozen=True)
class Answer:
    word: str            # "Yes", "No", "Cannot tell", "It depends"
    sentence: str
    notes: list[str] = field(default_factory=list)
    table: Table | None = None
    figures: list[Figure] = field(default_factory=list)


def answer(study: Study) -> Answer:
    compared = [(comparison, gain) for comparison in study.comparisons
                if (gain := study.generous_gain(comparison)) is not None]
    table = comparison_table(study)
    if not compared:
        return Answer("Cannot tell", _why_not(study), table=table)
    gains = [gain for _, gain in compared]
    word, sentence = verdict_of_all(gains, mean_gain(study, [comparison for comparison, _ in compared]))
    return Answer(word, sentence, _notes(study, compared), table, gain_figures(study, compared))


def _why_not(study: Study) -> str:
    kinds = {each.role for each in study.configurations}
    lacking = [role for role in ("student of standard", "student of generous") if role not in kinds]
    if lacking:
        return (f"there is no {' and no '.join(lacking)} teacher among these "
                f"{count(len(study.runs), 'run')}, so that nothing can be compared.")
    return "no student of the one teacher has the same settings and seed as a student of the other."


def verdict(gain: Gain) -> str:
    """Which student is better, in the table."""
    if not gain.clear:
        return "cannot tell"
    return "generous teacher's" if gain.mean > 0 else "standard teacher's"


def verdict_of_all(gains: list[Gain], mean: Gain | None) -> tuple[str, str]:
    """A word and a sentence. mean: over all comparisons, if there are several with common seeds."""
    better = sum(gain.clear and gain.mean > 0 for gain in gains)
    worse = sum(gain.clear and gain.mean < 0 for gain in gains)
    if len(gains) == 1:
        return _verdict_of_one(gains[0])
    if all(gain.count == 1 for gain in gains):
        return "Cannot tell", (f"the generous teacher's student is ahead in "
                               f"{sum(gain.mean > 0 for gain in gains)} of {len(gains)} comparisons, but a "
                               f"single seed says nothing about chance.")
    unclear = len(gains) - better - worse
    on_average = f" On average over all of them the gain is {describe(mean)}." if mean else ""
    parts = [f"in {better} the generous teacher's student is better"] if better else []
    parts += [f"in {worse} the standard teacher's student is better"] if worse else []
    parts += [f"in {unclear} the seeds cannot tell"] if unclear else []
    sentence = f"of {len(gains)} comparisons, {listing(parts)}."
    if better == len(gains) or worse == len(gains):
        winner = "generous" if better else "standard"
        return ("Yes" if better else "No",
                f"in all of {len(gains)} comparisons the {winner} teacher's student is better.{on_average}")
    if better and worse:
        return "It depends", sentence + on_average
    if not better and not worse:
        sentence = f"in none of {len(gains)} comparisons does the interval of the gain leave zero out."
    if mean and mean.clear:
        word = "On average, yes" if mean.mean > 0 else "On average, no"
        return word, sentence + on_average.replace(" On", " But on", 1)
    return "Cannot tell", sentence + on_average


def _verdict_of_one(gain: Gain) -> tuple[str, str]:
    seeds = count(gain.count, "seed")
    if gain.count == 1:
        return "Cannot tell", (f"the student of the generous teacher differs by {points(gain.mean)} from "
                               f"that of the standard one, but a single seed says nothing about chance.")
    words = f"{describe(gain)}, {seeds}"
    if not gain.clear:
        return "Cannot tell", f"the gain of the student is {words}: zero is inside."
    if gain.mean > 0:
        return "Yes", f"the student of the generous teacher gains {words}."
    return "No", f"the student of the generous teacher is worse, by a gain of {words}."


def points(value: float) -> str:
    return minus(f"{value:+.2f}") + " points"


def describe(gain: Gain) -> str:
    """"+0.31 points (95 % interval +0.05 to +0.57)"."""
    if gain.low is None:
        return f"{points(gain.mean)} (one seed: no interval)"
    return f"{points(gain.mean)} (95 % interval {minus(f'{gain.low:+.2f} to {gain.high:+.2f}')})"


def mean_gain(study: Study, comparisons: list[Comparison]) -> Gain | None:
    """Over the seeds: each seed's mean gain over all comparisons. None unless there are several
    comparisons that share seeds."""
    by_seed = [seed_gains(study, comparison) for comparison in comparisons]
    common = sorted(set.intersection(*(set(gains) for gains in by_seed)))
    if len(by_seed) < 2 or not common:
        return None
    return gain_of([sum(gains[seed] for gains in by_seed) / len(by_seed) for seed in common])


def seed_gains(study: Study, comparison: Comparison) -> dict[int, float]:
    """Of the generous teacher's student over the standard one's, by seed, in points."""
    pairs = [(run, counterpart(run, study.runs)) for run in comparison.generous.runs]
    return {run.seed: study.accuracy(run) - study.accuracy(other) for run, other in pairs if other}


def _notes(study: Study, compared: list[tuple[Comparison, Gain]]) -> list[str]:
    gains = [gain for _, gain in compared]
    notes = [f"Every number is the {study.accuracy_words}, in percent, as mean ± standard deviation over "
             f"seeds; a gain is the mean of the differences seed by seed, with its 95 % interval by "
             "Student's t. In the figure, small dots are the seeds' differences, bars the intervals: one "
             "that leaves the dotted line out tells the teachers apart."]
    if len(gains) > 1 and any(gain.low is not None for gain in gains):
        notes.append("Where true gains are zero, one of 20 such intervals leaves zero out all the same.")
    if any(gain.count < max(len(each.generous.runs), len(each.standard.runs)) for each, gain in compared):
        notes.append("Some seeds have one of the two students only: gains are those of the pairs, means "
                     "those of all seeds, so that a gain is not the difference of the means.")
    if any(gain.count == 2 for gain in gains):
        notes.append("Intervals of two seeds are so wide that they hardly say anything.")
    return notes


def comparison_table(study: Study) -> Table | None:
    """A row for each comparison; None if there are none."""
    rows = []
    for comparison in study.comparisons[:TABLE_ROWS]:
        gain = study.generous_gain(comparison)
        rows.append([text(comparison.name, heading=True), *_gain_cells(gain),
                     _estimate(study, comparison.generous), _estimate(study, comparison.standard),
                     _estimate(study, comparison.alone)])
    left_out = len(study.comparisons) - len(rows)
    caption = "Students by their teachers" + (f"; {left_out} further ones are left out" if left_out else "")
    columns = ["student", "gain", "95 % interval", "seeds", "better", "generous teacher's",
               "standard teacher's", "alone"]
    return Table(caption, columns, rows) if rows else None


def _estimate(study: Study, configuration: Configuration | None) -> Cell:
    if not configuration:
        return number(None)
    found = estimate([study.accuracy(run) for run in configuration.runs])
    spread = f" ± {found.deviation:.2f}" if found.deviation is not None else ""
    return Cell(f"{found.mean:.2f}{spread}", number=True)


def _gain_cells(gain: Gain | None) -> list[Cell]:
    if gain is None:
        return [number(None), number(None), number(None), text("no pair")]
    interval = minus(f"{gain.low:+.2f} to {gain.high:+.2f}") if gain.low is not None else "–"
    return [number(gain.mean, "{:+.2f}"), Cell(interval, number=True), number(gain.count, "{:d}"),
            text(verdict(gain), mark="clear" if gain.clear else "")]


def gain_figures(study: Study, compared: list[tuple[Comparison, Gain]]) -> list[Figure]:
    groups = []
    for comparison, gain in compared:
        bar = (gain.low, gain.high) if gain.low is not None else None
        gains = list(seed_gains(study, comparison).values())
        groups.append(dots.Group(comparison.name, [dots.Row("student of generous", gains, bar)]))
    return dots.figures(groups, "gain of the generous teacher's student [points]",
                        "Gain of the generous over the standard teacher's student, in points",
                        reference=(0.0, "no difference"))
