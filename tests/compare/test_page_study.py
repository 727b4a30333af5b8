"""The page's logic: what is compared with what, what is said about it, and what is left out."""
import json
import re
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "apps/compare"), str(ROOT / "tests/compare")]

import page_runs  # noqa: E402
import report  # noqa: E402
from page import answer, curves, features, logits, maps, provenance, worst  # noqa: E402
from page.calibration import pooled  # noqa: E402
from page.reports import Report  # noqa: E402
from page.study import Study  # noqa: E402
from runs import RunError, find_runs  # noqa: E402
from summary import Gain  # noqa: E402


BETTER, WORSE = Gain(3, 0.4, 0.05, 0.2, 0.6), Gain(3, -0.4, 0.05, -0.6, -0.2)
UNCLEAR = Gain(3, 0.1, 0.2, -0.7, 0.9)


def study_of(change=None, **made) -> Study:
    """The study of invented runs without reports; change(folder) is called before they are read."""
    with tempfile.TemporaryDirectory() as name:
        page_runs.make(Path(name), page_runs.Made(reports=False, **made))
        if change:
            change(Path(name))
        return Study.of(find_runs([Path(name)]))


def edit(path: Path, **settings) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


class Roles(unittest.TestCase):
    def test_every_run_has_its_role(self):
        study = study_of()
        self.assertEqual([(each.role, each.name, len(each.runs)) for each in study.configurations], [
            ("standard teacher", "standard resnet14", 3), ("generous teacher", "generous resnet14", 3),
            ("alone", "resnet8 alone", 3), ("student of standard", "resnet8 dkd of standard resnet14", 3),
            ("student of standard", "resnet8 kd of standard resnet14", 3),
            ("student of generous", "resnet8 dkd of generous resnet14", 3),
            ("student of generous", "resnet8 kd of generous resnet14", 3)])

    def test_comparisons_join_the_students_of_both_teachers(self):
        study = study_of()
        self.assertEqual([each.name for each in study.comparisons], ["resnet8 dkd", "resnet8 kd"])
        for each in study.comparisons:
            self.assertEqual([part.role for part in each.configurations],
                             ["alone", "student of standard", "student of generous"])

    def test_students_of_two_generous_teachers_are_two_comparisons(self):
        def second_generous_teacher(folder: Path) -> None:
            other = folder / "other"
            page_runs.make(other, page_runs.Made(methods=("kd",), seeds=(1,), reports=False))
            edit(other / "generous_teacher_1/params.json", Tn=2.0,
                 adversarial_resume=str(folder / "standard_teacher_1/best_model.safetensors"))
            for leftover in ("standard_teacher_1", "kd_of_standard_1", "alone_1"):
                for file in (other / leftover).iterdir():
                    file.unlink()

        study = study_of(second_generous_teacher, methods=("kd",), seeds=(1,))
        self.assertEqual([each.name for each in study.comparisons],
                         ["resnet8 kd, generous resnet14 (Tn 1.0)", "resnet8 kd, generous resnet14 (Tn 2.0)"])
        self.assertIs(study.comparisons[0].standard, study.comparisons[1].standard)

    def test_runs_that_are_not_at_their_end_are_left_out(self):
        def interrupted(folder: Path) -> None:
            edit(folder / "kd_of_generous_2/params.json", num_epochs=9)
        study = study_of(interrupted, methods=("kd",))
        self.assertEqual([(run.stage, run.seed) for run in study.unfinished], [("student", 2)])
        self.assertEqual(study.generous_gain(study.comparisons[0]).count, 2)
        self.assertIn("gains are those of the pairs", " ".join(answer.answer(study).notes))
        self.assertIn("Left out, because not at their end: 1 run (resnet8 kd of generous resnet14",
                      report.facts(study))

    def test_a_student_without_its_counterpart_is_still_shown(self):
        def without_generous(folder: Path) -> None:
            for path in folder.glob("*generous*/params.json"):
                path.unlink()
        study = study_of(without_generous, methods=("kd",))
        self.assertEqual([(each.name, each.generous) for each in study.comparisons], [("resnet8 kd", None)])
        found = answer.answer(study)
        self.assertEqual(found.word, "Cannot tell")
        self.assertIn("no student of generous", found.sentence)


class Answers(unittest.TestCase):
    def test_gains_are_paired_by_seed(self):
        study = study_of(methods=("kd",))
        gains = answer.seed_gains(study, study.comparisons[0])
        by_seed = {kind: {run.seed: run.metrics["test_top1_percent"].iloc[-1] for run in configuration.runs}
                   for kind, configuration in (("ours", study.comparisons[0].generous),
                                               ("theirs", study.comparisons[0].standard))}
        self.assertEqual(gains, {seed: by_seed["ours"][seed] - by_seed["theirs"][seed] for seed in (1, 2, 3)})

    def test_one_comparison(self):
        for gain, word in ((BETTER, "Yes"), (WORSE, "No"), (UNCLEAR, "Cannot tell"),
                           (Gain(1, 0.4, None, None, None), "Cannot tell")):
            self.assertEqual(answer.verdict_of_all([gain], None)[0], word)

    def test_several_comparisons(self):
        single = Gain(1, 0.4, None, None, None)
        for gains, mean, word in (([BETTER, BETTER], BETTER, "Yes"), ([WORSE, WORSE], WORSE, "No"),
                                  ([BETTER, WORSE], UNCLEAR, "It depends"),
                                  ([BETTER, WORSE], BETTER, "It depends"),
                                  ([BETTER, UNCLEAR], BETTER, "On average, yes"),
                                  ([WORSE, UNCLEAR], WORSE, "On average, no"),
                                  ([BETTER, UNCLEAR], UNCLEAR, "Cannot tell"),
                                  ([UNCLEAR, UNCLEAR], None, "Cannot tell"),
                                  ([single, single], single, "Cannot tell")):
            self.assertEqual(answer.verdict_of_all(gains, mean)[0], word)

    def test_the_mean_over_comparisons_is_taken_seed_by_seed(self):
        study = study_of()
        mean = answer.mean_gain(study, study.comparisons)
        gains = [answer.seed_gains(study, each) for each in study.comparisons]
        self.assertEqual(mean.count, 3)
        self.assertAlmostEqual(mean.mean, sum(sum(each.values()) for each in gains) / 6)

    def test_validation_decides_where_there_is_some(self):
        study = study_of(validation=True)
        run = study.runs[0]
        chosen = run.metrics["validation_top1_percent"].idxmax()
        self.assertEqual(study.accuracy(run), run.metrics["test_top1_percent"][chosen])
        self.assertIn("validation", study.accuracy_words)
        self.assertNotIn("validation", study_of().accuracy_words)

    def test_the_table_begins_with_the_gain(self):
        table = answer.comparison_table(study_of())
        self.assertEqual(table.columns[:3], ["student", "gain", "95 % interval"])
        self.assertEqual([len(row) for row in table.rows], [len(table.columns)] * 2)


class Curves(unittest.TestCase):
    def test_drops_of_the_learning_rate(self):
        run = study_of().runs[0]
        self.assertEqual(curves.drops(run), [(4, 0.005)])
        run.metrics["lr"] = [0.05, 0.045, 0.03, 0.015, 0.001]
        self.assertIsNone(curves.drops(run))
        run.metrics["lr"] = 0.05
        self.assertEqual(curves.drops(run), [])

    def test_minutes_of_lost_times_are_the_mean_of_the_others(self):
        run = study_of().runs[0]
        run.metrics["seconds"] = [60.0, float("nan"), 120.0, 60.0, 60.0]
        self.assertEqual(list(curves.minutes(run)), [1.0, 2.25, 4.25, 5.25, 6.25])
        run.metrics["seconds"] = float("nan")
        self.assertIsNone(curves.minutes(run))

    def test_means_are_over_the_seeds_that_have_the_epoch(self):
        one, other = study_of().configurations[0].runs[:2]
        one.metrics = one.metrics.head(2)
        found = curves.by_epoch([one, other], "test_top1_percent")
        self.assertEqual(found["mean"].loc[5], other.metrics["test_top1_percent"].iloc[4])
        self.assertAlmostEqual(found["mean"].loc[1],
                               (one.metrics["test_top1_percent"][0] + other.metrics["test_top1_percent"][0]) / 2)


class Missing(unittest.TestCase):
    def test_without_reports_there_is_a_sentence_and_no_figure(self):
        study = study_of()
        for section in (logits.spread(study), logits.entropy(study), logits.agreement(study),
                        maps.differences(study), maps.confusions(study), worst.section(study)):
            self.assertFalse(section.shows, section.name)
            self.assertIn("No run has a report folder", " ".join(section.missing))

    def test_what_a_page_leaves_out_is_named(self):
        study = study_of(methods=tuple(f"m{i}" for i in range(14)), seeds=(1,))
        section = curves.accuracy(study)
        self.assertEqual(sum(map(len, section.figures)), curves.PANELS)
        self.assertIn("Left out: resnet8 m", section.notes[0])

    def test_perplexity_fits_the_number_of_images(self):
        self.assertEqual([features.perplexity(images) for images in (4, 10, 91, 1000)], [1, 3, 30, 30])


class Reports(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        page_runs.make(cls.folder, page_runs.Made(methods=("kd",), seeds=(1, 2), features=40))
        cls.study = Study.of(find_runs([cls.folder]))

    def test_bins_of_several_seeds_are_weighted_by_their_images(self):
        configuration = self.study.configurations[0]
        one, other = (Report(run.report).calibration for run in configuration.runs)
        found = pooled(configuration)
        images = one["images"][14] + other["images"][14]
        correct = sum(bins["accuracy"][14] * bins["images"][14] for bins in (one, other))
        self.assertAlmostEqual(found["accuracy"][14], correct / images)
        self.assertEqual(found["images"][14], images)

    def test_worst_classes_are_those_of_the_lowest_accuracy(self):
        table = worst.section(self.study).tables[0]
        comparison = self.study.comparisons[0]
        reports = [Report(run.report) for each in (comparison.standard, comparison.generous)
                   for run in each.runs]
        mean = sum(report.by_class["top1"] for report in reports) / len(reports)
        worst_first = mean.sort_values(kind="stable").index[:worst.CLASSES]
        self.assertEqual([row[0].text for row in table.rows], [reports[0].classes[i] for i in worst_first])
        gain = [sum(report.by_class["top1"] for report in part) / 2 for part in (reports[2:], reports[:2])]
        first = reports[0].classes.index(table.rows[0][0].text)
        self.assertEqual(table.rows[0][4].text.replace("−", "-"), f"{gain[0][first] - gain[1][first]:+.1f}")

    def test_features_are_those_of_one_seed_and_its_teachers(self):
        self.assertEqual([(role, run.seed) for role, run in features.chosen(self.study)],
                         [("standard teacher", 1), ("generous teacher", 1), ("alone", 1),
                          ("student of standard", 1), ("student of generous", 1)])
        path = self.study.comparisons[0].generous.runs[0].report / "features.csv"
        path.rename(path.with_suffix(".away"))
        self.addCleanup(path.with_suffix(".away").rename, path)
        self.assertEqual({run.seed for _, run in features.chosen(self.study)}, {2})

    def test_maps_are_the_mean_over_seeds(self):
        maps_of = maps._student_maps(self.study)
        self.assertEqual([title for title, _, _ in maps_of],
                         ["resnet8 kd of standard resnet14", "resnet8 kd of generous resnet14"])
        runs = self.study.comparisons[0].standard.runs
        one, other = (Report(run.report).class_logit_differences for run in runs)
        self.assertAlmostEqual(maps_of[0][2][3, 7], (one[3, 7] + other[3, 7]) / 2)

    def test_a_damaged_report_is_named_in_one_line(self):
        path = self.study.comparisons[0].standard.runs[0].report / "confusion.csv"
        whole = path.read_text(encoding="utf-8")
        self.addCleanup(path.write_text, whole, encoding="utf-8")
        path.write_text("".join(whole.splitlines(keepends=True)[:-1]), encoding="utf-8")
        with self.assertRaises(RunError) as caught:
            maps.confusions(self.study)
        self.assertIn(f"{path}: expected 10 rows of 10 values", str(caught.exception))
        self.assertNotIn("\n", str(caught.exception))

    def test_the_same_runs_give_the_same_bytes(self):
        one, other = (report.render(self.study, [], ["RUNS"]) for _ in range(2))
        self.assertEqual(one, other)
        self.assertIn("T-shirt, &#34;top&#34; é", one)
        for outside in ("http:", "https:", "//www"):
            self.assertNotIn(outside, re.sub(r"data:image/[^\"]*", "", one))

    def test_commands_repeat_in_the_order_of_need(self):
        section = provenance.commands(self.study, [], ["RUNS"])
        lines = [line for line in section.commands.splitlines() if line.startswith("build/apps")]
        self.assertEqual([line.split()[0].rsplit("/", 1)[1] for line in lines],
                         ["train_standard"] * 4 + ["train_generous"] * 2 + ["train_kd"] * 4)
        made = [line.split("--save_path ")[1].split()[0] for line in lines]
        for i, line in enumerate(lines):
            if "_resume" in line:
                self.assertIn(line.split("_resume ")[1].rsplit("/", 1)[0], made[:i])


if __name__ == "__main__":
    unittest.main()
