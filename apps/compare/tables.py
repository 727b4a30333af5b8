"""The tables of a grid's results, in Markdown and in LaTeX (with booktabs)."""
from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Callable, Sequence

from runs import Run
from status import duration
from summary import Estimate, Gain, alone, best_accuracy, by_cell, counterpart, estimate, gain_over, last_accuracy

MISSING_NAMED = 20
Row = list[str]


@dataclass(frozen=True)
class Table:
    caption: str
    head: Row
    rows: list[Row]


def tables_of(runs: Sequence[Run]) -> list[Table]:
    """What the networks reach and cost, then the gains; numbers are text with a minus sign of their own."""
    cells = by_cell(runs)
    if not cells:
        return []
    validated = all(run.validated for run in runs)
    tables = [Table(reached_caption(validated), ["run", "seeds", "last", "best", "seconds", "MiB"],
                    [[name, seeds_of(group), spread(group, last_accuracy), spread(group, best_accuracy),
                      seconds_of(group), memory_of(group)] for name, group in cells.items()])]
    for caption, reference in (("Gain of the generous over the standard teacher", counterpart),
                               ("Gain over the student alone", alone)):
        rows = []
        for name, group in cells.items():
            last = gain_over(group, lambda run: reference(run, runs), last_accuracy)
            best = gain_over(group, lambda run: reference(run, runs), best_accuracy)
            if last and best:
                rows.append([name, str(last.count), *gain_columns(last), *gain_columns(best)])
        if rows:
            tables.append(Table(f"{caption}, in percentage points, paired by seed: mean, standard error, 95 % interval "
                                "by Student's t" + one_seed_note(rows),
                                ["student", "pairs", "last", "error", "95 %", "best", "error", "95 %"], rows))
    return tables


def reached_caption(validated: bool) -> str:
    chosen = ("of the epoch that the validation images chose, which the test images had no part in" if validated else
              "of the epoch that the test images themselves chose, which is optimistic")
    return ("Top-1 on the test images in %, mean and standard deviation over seeds: last, of the last epoch; best, " +
            chosen)


def one_seed_note(rows: Sequence[Row]) -> str:
    return "; one pair has no interval: more seeds are needed to tell a gain from chance" \
        if any(row[1] == "1" for row in rows) else ""


def seeds_of(group: Sequence[Run]) -> str:
    return str(len({run.seed for run in group}))


def spread(group: Sequence[Run], measure: Callable[[Run], float]) -> str:
    """ "91.00 ± 0.21" """
    found: Estimate | None = estimate([measure(run) for run in group])
    if found is None:
        return ""
    return f"{found.mean:.2f}" + (f" ± {found.deviation:.2f}" if found.deviation is not None else "")


def gain_columns(gain: Gain) -> Row:
    """ "+0.15", "0.10", "-0.13 to +0.43" """
    if gain.error is None:
        return [f"{gain.mean:+.2f}", "", ""]
    return [f"{gain.mean:+.2f}", f"{gain.error:.2f}", f"{gain.low:+.2f} to {gain.high:+.2f}"]


def seconds_of(group: Sequence[Run]) -> str:
    found = estimate([run.seconds for run in group])
    return f"{found.mean:.0f}" if found else ""


def memory_of(group: Sequence[Run]) -> str:
    known = [run.memory_mib for run in group if run.memory_mib is not None]
    return f"{max(known):.0f}" if known else ""


def about(runs: Sequence[Run], missing: Sequence[str]) -> list[str]:
    """What the tables rest on, and what is not in them."""
    total = len(runs) + len(missing)
    lines = [f"{len(runs)} of {total} runs are done, of {duration(sum(run.seconds for run in runs))} together."]
    if missing:
        named = ", ".join(missing[:MISSING_NAMED])
        more = f" and {len(missing) - MISSING_NAMED} more" if len(missing) > MISSING_NAMED else ""
        lines.append(f"Missing in the tables: {named}{more}.")
    return lines


def markdown(name: str, runs: Sequence[Run], missing: Sequence[str]) -> str:
    parts = [f"# {name}", *about(runs, missing)]
    for table in tables_of(runs):
        lines = [row_of(table.head), "|---|" + "---:|" * (len(table.head) - 1)]
        parts += [f"{table.caption}.", "\n".join(lines + [row_of(row) for row in table.rows])]
    return "\n\n".join(parts) + "\n"


def row_of(cells: Row) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in cells) + " |"


def latex(name: str, runs: Sequence[Run], missing: Sequence[str]) -> str:
    """Tables to \\input; they need \\usepackage{booktabs}."""
    parts = [f"% {name}. " + " ".join(about(runs, missing))]
    for table in tables_of(runs):
        lines = ["\\begin{table}", f"\\caption{{{escaped(table.caption)}.}}",
                 "\\begin{tabular}{l" + "r" * (len(table.head) - 1) + "}", "\\toprule",
                 " & ".join(map(escaped, table.head)) + " \\\\", "\\midrule",
                 *(" & ".join(map(escaped, row)) + " \\\\" for row in table.rows),
                 "\\bottomrule", "\\end{tabular}", "\\end{table}"]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """For LaTeX, numbers with a true minus sign."""
    text = re.sub(r"[&%$#_{}]", r"\\\g<0>", text)
    return re.sub(r"(?<!\w)-(?=\d)", "$-$", text.replace("±", "$\\pm$"))
