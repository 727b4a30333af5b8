"""What the networks cost: time and memory of training, and their size."""
from page import dots, theme
from page.accuracy import student_groups, teacher_groups
from page.section import Section, Table, number, text
from page.study import Study
from summary import estimate

ROWS = 60


def section(study: Study) -> Section:
    made = Section("cost", "What does it cost in time and memory?",
                   "Minutes are those of all epochs of a run with its tests, memory is the most that its "
                   "process held. A generous teacher costs two trainings of a teacher; a student's teacher "
                   "comes on top of it. Times are those of the machine, with all else that ran on it.")
    minutes, memory = (lambda run: run.seconds / 60 or None), (lambda run: run.memory_mib)
    for measure, quantity in ((minutes, "minutes of training"), (memory, "memory [MiB]")):
        kinds = [groups_of(study, measure) for groups_of in (teacher_groups, student_groups)]
        span = dots.span_of(*kinds)
        made.figures.append([each for groups, what in zip(kinds, ("teachers", "students")) for each in
                             dots.figures(groups, f"{quantity}, {what}", f"{quantity} of the {what}",
                                          span=span)])
    made.roles = theme.in_order(each.role for each in study.configurations)
    if not any(run.memory_mib for run in study.runs):
        made.missing.append("The logs of these runs do not say how much memory they needed.")
    if not any(run.seconds for run in study.runs):
        made.missing.append("The times of all epochs are lost.")
    made.tables.append(_table(study))
    return made


def _table(study: Study) -> Table:
    rows = []
    for each in study.configurations[:ROWS]:
        seconds = estimate([run.seconds for run in each.runs if run.seconds])
        epochs = sum(run.epochs for run in each.runs)
        rates = [run.metrics["images_per_s"].mean() for run in each.runs if "images_per_s" in run.metrics]
        memory = [run.memory_mib for run in each.runs if run.memory_mib]
        rows.append([text(each.name, heading=True), number(len(each.runs), "{:d}"),
                     number(each.runs[0].parameters, "{:,d}"),
                     number(seconds and seconds.mean / 60, "{:.1f}"),
                     number(seconds and seconds.mean * seconds.count / epochs, "{:.1f}"),
                     number(estimate(rates).mean if rates else None, "{:,.0f}"),
                     number(max(memory, default=None), "{:,.0f}")])
    left_out = len(study.configurations) - len(rows)
    return Table("Cost by configuration, means over seeds; memory: the largest"
                 + (f"; {left_out} further ones are left out" if left_out else ""),
                 ["configuration", "seeds", "parameters", "minutes", "seconds an epoch",
                  "images/s in training", "memory [MiB]"], rows)
