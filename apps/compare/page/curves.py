"""How training went: accuracy and loss by epoch, accuracy by minutes."""
import numpy
import pandas

from page import theme
from page.accuracy import by_role
from page.section import Figure, Section, count, listing
from page.study import Configuration, Study
from runs import Run

PANELS = 12
DROP = 0.6   # a learning rate below that part of the one before is a drop, otherwise a slope
MOST_DROPS = 6


def accuracy(study: Study) -> Section:
    return _section(study, "accuracy-curves", "How does the accuracy grow?", "test_top1_percent",
                    "top-1, test [%]",
                    "What lies below the frame, the first epochs mostly, is cut off.")


def loss(study: Study) -> Section:
    return _section(study, "loss-curves", "How does the loss fall?", "test_loss", "cross-entropy, test",
                    "It is the cross-entropy of the test images, which all stages share; what a stage adds "
                    "to it in training is not comparable and not shown.")


def _section(study: Study, name: str, question: str, column: str, quantity: str, remark: str) -> Section:
    made = Section(name, question, "Curves are means over seeds, the shades reach from the smallest to the "
                   f"largest seed; {_rate_words(study)} {remark}")
    parts = panels(study)
    made.roles = theme.in_order(role for _, part in parts for role, _ in part)
    drawn = [_figure(title, part, column, quantity) for title, part in parts[:PANELS]]
    made.figures.append([each for each in drawn if each])
    if len(parts) > PANELS:
        made.notes.append(f"Left out: {listing([title for title, _ in parts[PANELS:]][:12])}"
                          f"{' and others' if len(parts) > PANELS + 12 else ''}.")
    if all(run.epochs == 1 for run in study.runs):
        made.figures, made.roles = [], []
        made.missing.append("Every run has a single epoch: there is no curve.")
    return made


def panels(study: Study) -> list[tuple[str, list[tuple[str, Configuration]]]]:
    """What shares a panel: each generous teacher and its standard one; each comparison of students; every
    other run."""
    found: list[tuple[str, list[tuple[str, Configuration]]]] = []
    standards = study.of_role("standard teacher")
    for generous in study.of_role("generous teacher"):
        origin = [each for each in standards if any(run.teacher in each.runs for run in generous.runs)][:1]
        found.append((generous.name, [*(("standard teacher", each) for each in origin),
                                      ("generous teacher", generous)]))
    found += [(each.name, by_role(each)) for each in study.comparisons]
    shown = {id(each) for _, part in found for _, each in part}
    others = [each for each in study.configurations if id(each) not in shown]
    return [(each.name, [(each.role, each)]) for each in others] + found


def drops(run: Run) -> list[tuple[int, float]] | None:
    """The epochs from which on the learning rate is a smaller one, and that rate; None if it slopes."""
    epochs, rates = run.metrics["epoch"].to_numpy(), run.metrics["lr"].to_numpy()
    falls = [i for i in range(1, len(rates)) if rates[i] < rates[i - 1]]
    if len(falls) > MOST_DROPS or any(rates[i] > DROP * rates[i - 1] for i in falls):
        return None
    return [(int(epochs[i]), float(rates[i])) for i in falls]


def _rate_words(study: Study) -> str:
    found = [drops(run) for run in study.runs]
    kinds = {"slope" if each is None else "drops" if each else "constant" for each in found}
    if kinds == {"slope"}:
        return "the learning rate falls little by little."
    if kinds == {"constant"}:
        return "the learning rate is the same in all epochs."
    return "dotted vertical lines are drops of the learning rate, with the new one beside them."


def by_epoch(runs: list[Run], column: str) -> pandas.DataFrame:
    """Mean, smallest and largest over the runs that have the epoch, with a finite value."""
    values = pandas.concat([run.metrics[["epoch", column]] for run in runs])
    return values[numpy.isfinite(values[column])].groupby("epoch")[column].agg(["mean", "min", "max"])


def _figure(title: str, configurations: list[tuple[str, Configuration]], column: str,
            quantity: str) -> Figure | None:
    """None without a finite value."""
    curves = [(role, each, by_epoch(each.runs, column)) for role, each in configurations]
    curves = [(role, each, curve) for role, each, curve in curves if len(curve)]
    if not curves:
        return None
    with theme.panel(250) as (canvas, axes):
        lows, highs, words = [], [], []
        for role, each, curve in curves:
            axes.plot(curve.index, curve["mean"], **theme.line(role))
            axes.plot(curve.index[-1], curve["mean"].iloc[-1], **theme.mark(role), zorder=4)
            if len(each.runs) > 1:
                axes.fill_between(curve.index, curve["min"], curve["max"], color=theme.ROLES[role].colour,
                                  alpha=0.15, linewidth=0)
            settled = curve.iloc[len(curve) // 3:]
            lows.append(settled["min"].min() if column == "test_top1_percent" else curve["min"].min())
            highs.append(curve["max"].max() if column == "test_top1_percent" else settled["max"].max())
            words.append(f"{role} {curve['mean'].iloc[-1]:.4g}")
        margin = 0.06 * (max(highs) - min(lows)) or 0.5
        axes.set_ylim(min(lows) - margin, max(highs) + margin)
        _mark_drops(axes, configurations[0][1].runs[0])
        axes.set_xlabel("epoch")
        axes.set_ylabel(quantity)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(True)
        return theme.figure(canvas, f"{quantity} by epoch, {title}; in the last epoch: {', '.join(words)}",
                            title)


def _mark_drops(axes, run: Run) -> None:
    for number, (epoch, rate) in enumerate(drops(run) or []):
        axes.axvline(epoch - 0.5, color="#777777", linewidth=0.9, linestyle=(0, (1, 2)))
        late = epoch > 0.85 * axes.get_xlim()[1]  # no room to the right of the line
        axes.annotate(f"{rate:g}", (epoch - 0.5, 0.02 + 0.08 * (number % 2)), (-3 if late else 3, 0),
                      xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=7.5, color="#555555",
                      va="bottom", ha="right" if late else "left", in_layout=False)


def minutes(run: Run) -> numpy.ndarray | None:
    """At the end of each epoch, since the first one's beginning; None if no epoch's time is known. Epochs
    whose time was lost count as the mean of the others."""
    seconds = run.metrics["seconds"]
    if not seconds.notna().any():
        return None
    return seconds.fillna(seconds.mean()).cumsum().to_numpy() / 60


def speed(study: Study) -> Section:
    """Accuracy by minutes of training."""
    made = Section("speed", "Which accuracy after which time?",
                   "Each curve is one seed's run. A curve that lies further left reaches the same accuracy "
                   "sooner; a teacher's own training is not counted. Times are those of the machine, with "
                   "all else that ran on it.")
    parts = panels(study)
    figures = []
    for title, configurations in parts[:PANELS]:
        timed = [(role, run) for role, each in configurations for run in each.runs
                 if run.epochs > 1 and minutes(run) is not None]
        if timed:
            figures.append(_timed(title, timed))
    made.figures.append(figures)
    made.roles = theme.in_order(role for _, part in parts for role, _ in part)
    if len(parts) > PANELS:
        made.notes.append(f"{count(len(parts) - PANELS, 'further panel')} left out: those that the curves by "
                          f"epoch leave out.")
    if not figures:
        made.missing.append("No run has two epochs whose times are known.")
    return made


def _timed(title: str, timed: list[tuple[str, Run]]) -> Figure:
    with theme.panel(250) as (canvas, axes):
        for role, run in timed:
            axes.plot(minutes(run), run.metrics["test_top1_percent"], **theme.line(role), linewidth=1)
            axes.plot(minutes(run)[-1], run.last().accuracy, **theme.mark(role), zorder=4)
        settled = [run.metrics["test_top1_percent"].iloc[run.epochs // 3:] for _, run in timed]
        low, high = min(part.min() for part in settled), max(part.max() for part in settled)
        axes.set_ylim(low - 0.06 * (high - low) - 0.01, high + 0.06 * (high - low) + 0.01)
        axes.set_xlim(left=0)
        axes.set_xlabel("minutes")
        axes.set_ylabel("top-1, test [%]")
        axes.grid(True)
        spent: dict[str, list[float]] = {}
        for role, run in timed:
            spent.setdefault(role, []).append(minutes(run)[-1])
        words = ", ".join(f"{role} {numpy.mean(times):.2g}" for role, times in spent.items())
        return theme.figure(canvas, f"Test accuracy by minutes, {title}; minutes of a whole run: {words}",
                            title)
