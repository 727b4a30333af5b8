"""The paper's mechanism: how far a network's logits spread, and how much it says about the other classes."""
import math

from page import dots, theme
from page.accuracy import student_groups, teacher_groups
from page.reports import Report, reports_of
from page.section import Section
from page.study import Study
from runs import Run


def spread(study: Study) -> Section:
    made = Section(
        "logit-deviation", "How far do the logits spread?",
        "The standard deviation of an image's logits, as the mean over the test images: the generous "
        "teacher's temperature is a multiple of it. A network that is sure of its answers has a large one.")
    return _filled(made, study, [("standard deviation of the logits", ("logit_deviation",))])


def entropy(study: Study) -> Section:
    reports = reports_of(study.runs)
    others = len(reports[0].classes) - 1 if reports else 0
    uniform = f" ({math.log(others):.2f} nats)" if others > 1 else ""
    made = Section(
        "non-target-entropy", "How much does a network say about the other classes?",
        "The entropy of its softmax over all classes but the label's, as the mean over the test images: 0 if "
        f"one wrong class has it all, the largest possible value{uniform} if all are alike. The first "
        f"figures have it at temperature 1, the second ones at the temperature of the paper, the standard "
        "deviation of the image's logits, which takes the effect of the logits' size away.")
    return _filled(made, study, [("non-target entropy at T = 1 [nats]", ("non_target_entropy",)),
                                 ("non-target entropy at T = σ [nats]", ("non_target_entropy_at_sigma",))])


def agreement(study: Study) -> Section:
    made = Section(
        "agreement", "How closely does a student follow its teacher?",
        "Each student beside its own teacher on the test images: the share of images on which both choose "
        "the same class; the divergence KL(teacher, student) of their probabilities at temperature 1; and "
        "the mean distance of their class logits (the maps below). More agreement is not by itself a better "
        "student.")
    _filled(made, study, [("same answer as the teacher [%]", ("teacher", "agreement")),
                          ("KL(teacher, student) [nats]", ("teacher", "kl")),
                          ("distance of the class logits", ("teacher", "class_logit_distance"))])
    if not made.roles and study.reported:
        made.missing = ["No report was made beside a teacher: evaluate --report ... --teacher_model ... "
                        "--teacher_resume ... does it."]
    return made


def _filled(made: Section, study: Study, quantities: list[tuple[str, tuple[str, ...]]]) -> Section:
    """quantities: each with the keys of report.json that lead to it."""
    drawn: set[str] = set()
    for quantity, keys in quantities:
        def measure(run: Run) -> float | None:
            return Report(run.report).value(*keys) if run.report else None

        kinds = [groups_of(study, measure) for groups_of in (teacher_groups, student_groups)]
        span = dots.span_of(*kinds)
        made.figures.append([each for groups, what in zip(kinds, ("teachers", "students")) for each in
                             dots.figures(groups, f"{quantity}, {what}", f"{quantity} of the {what}",
                                          span=span)])
        drawn |= {row.role for groups in kinds for group in groups for row in group.rows}
    if all(len(row) == 1 for row in made.figures):
        made.figures = [[each for row in made.figures for each in row]]
    made.roles = theme.in_order(drawn)
    if study.without_report():
        made.missing.append(study.without_report())
    return made
