"""The statistics: against scipy's own tests, against figures computed by hand, and what is paired with what."""
import math
import random
import tempfile
import unittest
from pathlib import Path

import pandas
import scipy.stats
import shared
from plan import PlannedRun
from results import write
from runs import find_runs
from summary import alone, best_accuracy, counterpart, estimate, gain_of, gain_over, last_accuracy, paired_gain


class StatisticsTest(unittest.TestCase):
    def test_by_hand(self):
        found = estimate([90.0, 91.0, 95.0])  # squares of 2, 1 and 3: 14 / 2
        self.assertEqual((found.count, found.mean), (3, 92.0))
        self.assertAlmostEqual(found.deviation, math.sqrt(7), places=12)
        gain = gain_of([1.0, 2.0, 3.0])  # 4.302653 is Student's t of two degrees of freedom, two-sided 5 %
        self.assertAlmostEqual(gain.error, 1 / math.sqrt(3), places=12)
        self.assertAlmostEqual(gain.low, 2 - 4.302652729911275 / math.sqrt(3), places=9)
        self.assertAlmostEqual(gain.high, 2 + 4.302652729911275 / math.sqrt(3), places=9)
        self.assertTrue(not gain.clear and gain_of([2.0, 2.1, 2.2]).clear and gain_of([-2.0, -2.1, -2.2]).clear)

    def test_against_scipy(self):
        numbers = random.Random(5)
        for count in (2, 3, 5, 20):
            ours = {seed: numbers.gauss(90, 1) for seed in range(count)}
            theirs = {seed: numbers.gauss(89, 1) for seed in range(count)}
            gain = paired_gain(ours, theirs)
            test = scipy.stats.ttest_rel(list(ours.values()), list(theirs.values()))
            self.assertAlmostEqual(gain.mean / gain.error, test.statistic, places=9)
            low, high = test.confidence_interval(0.95)
            self.assertAlmostEqual(gain.low, low, places=9)
            self.assertAlmostEqual(gain.high, high, places=9)
            self.assertEqual(gain.clear, bool(test.pvalue < 0.05))

    def test_pairs_are_of_the_same_seed(self):
        gain = paired_gain({0: 1.0, 1: 20.0, 2: 300.0, 7: 5.0}, {2: 100.0, 1: 10.0, 0: 0.0, 9: 1.0})
        self.assertEqual((gain.count, gain.mean), (3, (1 + 10 + 200) / 3))

    def test_one_value_has_no_spread(self):
        self.assertEqual(estimate([3.0]), (1, 3.0, None))
        self.assertEqual(gain_of([3.0]), (1, 3.0, None, None, None))
        self.assertFalse(gain_of([3.0]).clear)
        self.assertEqual((estimate([]), gain_of([]), paired_gain({0: 1.0}, {1: 1.0})), (None, None, None))


class GridTest(unittest.TestCase):
    """Two seeds of one pair of teachers; the generous teacher's kd students are 1 and 2 points better."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name).resolve()
        for seed in (0, 1):
            self.make("standard", seed, 80 + seed, model_name="resnet14")
            self.make("generous", seed, 79, model_name="resnet14", adversarial_model="resnet14",
                      adversarial_resume=f"standard/seed{seed}/last_model.safetensors", Tn=1.0)
            self.make("alone", seed, 60 + 2 * seed)
            for method in ("kd", "dkd"):
                for kind, gain in (("standard", 0), ("generous", 1 + seed if method == "kd" else -3)):
                    self.make(f"{method}-{kind}", seed, 70 + gain, method=method, teacher_model="resnet14", alpha=0.9,
                              teacher_resume=f"{kind}/seed{seed}/last_model.safetensors")

    def make(self, name, seed, accuracy, log="", **params):
        """The best epoch is ten points above the last."""
        accuracies = [5, accuracy + 10, accuracy]
        folder = shared.make_run(self.root / name / f"seed{seed}", seed, accuracies, log=log, **params)
        (folder / "done").touch()

    def runs(self, name):
        self.all = find_runs([self.root])
        return [run for run in self.all if run.folder.parent.name == name]

    def gain(self, name, reference, measure=last_accuracy):
        runs = self.runs(name)
        return gain_over(runs, lambda run: reference(run, self.all), measure)

    def test_gain_over_the_standard_teacher(self):
        self.assertEqual(self.gain("kd-generous", counterpart)[:2], (2, 1.5))
        self.assertEqual(self.gain("kd-generous", counterpart).error, 0.5)
        self.assertEqual(self.gain("kd-generous", counterpart, best_accuracy)[:2], (2, 1.5))
        self.assertEqual(self.gain("dkd-generous", counterpart)[:3], (2, -3.0, 0.0))
        for name in ("kd-standard", "alone", "generous", "standard"):
            self.assertIsNone(self.gain(name, counterpart), name)

    def test_gain_over_the_student_alone(self):
        self.assertEqual(self.gain("kd-standard", alone)[:2], (2, 9.0))
        self.assertIsNone(self.gain("generous", alone))

    def test_no_gain_between_what_differs_otherwise(self):
        self.make("other", 0, 10, method="kd", teacher_model="resnet14", alpha=0.5,
                  teacher_resume="generous/seed0/last_model.safetensors")
        self.assertIsNone(self.gain("other", counterpart))

    def tables(self, *left_out):
        names = ("standard", "generous", "alone", "kd-standard", "kd-generous", "dkd-standard", "dkd-generous")
        planned = [PlannedRun(f"{name}/seed{seed}", seed, None, "", [], [], "last", 3) for name in names
                   for seed in (0, 1)]
        for folder in left_out:
            (self.root / folder / "done").unlink()
        write("made-up", self.root, planned)
        return [(self.root / name).read_text(encoding="utf-8") for name in ("results.csv", "table.md", "table.tex")]

    def test_tables(self):
        _, markdown, latex = self.tables()
        frame = pandas.read_csv(self.root / "results.csv")
        self.assertEqual(len(frame), 14)
        row = frame[frame["run"] == "kd-generous/seed1"].iloc[0]
        self.assertEqual((row["stage"], row["cell"], row["method"], row["teacher"], row["teacher_run"], row["seed"]),
                         ("student", "resnet8 kd of generous resnet14", "kd", "generous resnet14", "generous/seed1", 1))
        self.assertEqual((row["last_accuracy"], row["last_epoch"], row["best_accuracy"], row["best_epoch"]),
                         (72.0, 3, 82.0, 2))
        self.assertEqual((row["seconds"], row["best_chosen_by"], row["learning_rate"], row["alpha"]),
                         (7.5, "test", 0.1, 0.9))
        self.assertNotIn("data_dir", frame)  # of a machine, not of a run
        self.assertIn("14 of 14 runs are done", markdown)
        self.assertIn("which is optimistic", markdown)
        self.assertIn("| standard resnet14 | 2 | 80.50 ± 0.71 | 90.50 ± 0.71 | 8 |  |", markdown)
        self.assertIn("| resnet8 kd of generous resnet14 | 2 | +1.50 | 0.50 | -4.85 to +7.85 | +1.50 | 0.50 | -4.85 to "
                      "+7.85 |", markdown)
        self.assertIn("| resnet8 kd of standard resnet14 | 2 | +9.00 | 1.00 | -3.71 to +21.71 |", markdown)
        self.assertIn("resnet8 kd of generous resnet14 & 2 & +1.50 & 0.50 & $-$4.85 to +7.85 & +1.50", latex)
        self.assertEqual(latex.count("\\toprule"), 3)
        self.assertEqual(latex.count("{"), latex.count("}"))

    def test_what_is_missing_is_said(self):
        rows, markdown, latex = self.tables("kd-generous/seed1", "dkd-generous/seed0", "dkd-generous/seed1")
        self.assertEqual(len(rows.splitlines()), 1 + 11)
        self.assertIn("11 of 14 runs are done", markdown)
        self.assertIn("Missing in the tables: kd-generous/seed1, dkd-generous/seed0, dkd-generous/seed1.", markdown)
        self.assertIn("Missing in the tables: kd-generous/seed1", latex)
        self.assertIn("| resnet8 kd of generous resnet14 | 1 | +1.00 |  |  | +1.00 |  |  |", markdown)
        self.assertIn("one pair has no interval", markdown)

    def test_best_of_validation_is_no_optimism(self):
        shared.make_run(self.root / "v" / "seed0", 0, [50, 60], validation=[40, 30])
        (self.root / "v" / "seed0" / "done").touch()
        write("v", self.root, [PlannedRun("v/seed0", 0, None, "", [], [], "last", 2)])
        markdown = (self.root / "table.md").read_text(encoding="utf-8")
        self.assertIn("the validation images chose", markdown)
        self.assertNotIn("optimistic", markdown)
        self.assertIn("| resnet8 alone | 1 | 60.00 | 50.00 | 5 |", markdown)
        self.assertIn("validation,", (self.root / "results.csv").read_text(encoding="utf-8"))

    def test_before_the_first_run_is_done(self):
        rows, markdown, latex = self.tables(*{str(path.parent.relative_to(self.root))
                                              for path in self.root.glob("*/*/done")})
        self.assertIn("0 of 14 runs are done", markdown)
        self.assertNotIn("tabular", latex)
        self.assertEqual(rows.strip(), "")


if __name__ == "__main__":
    unittest.main()
