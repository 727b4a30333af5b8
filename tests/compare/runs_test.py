"""Run folders read: stages, teachers, names, and what the metrics say."""
import tempfile
import unittest
from pathlib import Path

import shared
from runs import RunError, cell, find_runs

LOG = ("2026-11-26 10:00:00  train_standard: resnet8 (78042 parameters) on cifar10: 50000 training images\n"
       "2026-11-26 10:09:00  stopped by SIGTERM in epoch 2 after step 8 of the run; --resume goes on from here; at most "
       "312 MiB of memory\n"
       "2026-11-26 10:19:00  done: best top-1 60.00 % in epoch 2; weights, metrics and log are in r; at most 290 MiB of "
       "memory\n")


class RunsTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name).resolve()

    def make(self, name, seed=0, accuracies=(50, 60, 55), **more):
        return shared.make_run(self.root / name, seed, list(accuracies), **more)

    def found(self):
        return {str(run.folder.relative_to(self.root)): run for run in find_runs([self.root])}

    def one(self, **more):
        self.make("r", **more)
        return self.found()["r"]

    def test_best_is_the_first_of_equals_and_last_the_last(self):
        run = self.one(accuracies=(50, 60, 60, 55))
        self.assertEqual((run.best().epoch, run.best().accuracy, run.best().validation), (2, 60.0, None))
        self.assertAlmostEqual(run.best().loss, 1.4)
        self.assertEqual((run.last().epoch, run.last().accuracy), (4, 55.0))
        self.assertFalse(run.validated)

    def test_validation_chooses_where_there_is_one(self):
        run = self.one(accuracies=(50, 60, 55), validation=[1, 2, 3])
        self.assertEqual((run.best().epoch, run.best().accuracy, run.best().validation), (3, 55.0, 3.0))
        self.assertTrue(run.validated)

    def test_metrics_with_the_columns_of_before(self):
        folder = self.make("r", accuracies=(50, 60), validation=[2, 1])
        metrics = folder / "metrics.csv"
        metrics.write_text(metrics.read_text().replace("_top1_percent", "_accuracy"))
        run = self.found()["r"]
        self.assertEqual((run.best().accuracy, run.best().validation, run.last().accuracy), (50.0, 2.0, 60.0))

    def test_before_the_first_epoch(self):
        run = self.one(accuracies=(), num_epochs=3)
        self.assertEqual((run.best(), run.last(), run.epochs, run.seconds, run.complete), (None, None, 0, 0.0, False))

    def test_seconds_memory_parameters(self):
        run = self.one(seconds=["2", "", "4"], log=LOG)
        self.assertEqual((run.seconds, run.memory_mib, run.parameters), (9.0, 312.0, 78042))
        other = self.make("other", seconds=["", "", ""])
        run = self.found()["other"]
        self.assertEqual((run.folder, run.seconds, run.memory_mib, run.parameters), (other, 0.0, None, None))

    def test_complete(self):
        self.assertTrue(self.one().complete)
        self.make("begun", num_epochs=9)
        self.make("early", num_epochs=9, log="2026-11-26 10:19:00  stopped early after epoch 3, as none\n")
        (self.make("marked", num_epochs=9) / "done").touch()
        found = self.found()
        self.assertEqual([found[name].complete for name in ("begun", "early", "marked")], [False, True, True])

    def test_stages_teachers_and_names(self):
        for seed in (0, 1):
            self.make(f"t/{seed}", seed, model_name="resnet14")
            self.make(f"g/{seed}", seed, model_name="resnet14", adversarial_model="resnet14",
                      adversarial_resume=f"t/{seed}/best_model.safetensors", Tn=1.0)
            self.make(f"sg/{seed}", seed, method="kd", teacher_model="resnet14",
                      teacher_resume=str(self.root / f"g/{seed}/last_model.safetensors"))
            self.make(f"st/{seed}", seed, method="kd", teacher_model="resnet14",
                      teacher_resume=f"../../{self.root.name}/t/{seed}/last_model.safetensors")
            self.make(f"alone/{seed}", seed)
        found = self.found()
        for seed in ("0", "1"):
            self.assertEqual({name: (found[f"{name}/{seed}"].stage, cell(found[f"{name}/{seed}"]))
                              for name in ("t", "g", "sg", "st", "alone")},
                             {"t": ("standard", "standard resnet14"), "g": ("generous", "generous resnet14"),
                              "sg": ("student", "resnet8 kd of generous resnet14"),
                              "st": ("student", "resnet8 kd of standard resnet14"),
                              "alone": ("standard", "resnet8 alone")})
            self.assertIs(found[f"sg/{seed}"].teacher, found[f"g/{seed}"])
            self.assertIs(found[f"g/{seed}"].teacher, found[f"t/{seed}"])
            self.assertIs(found[f"st/{seed}"].teacher, found[f"t/{seed}"])
            self.assertIsNone(found[f"t/{seed}"].teacher)

    def test_differing_settings_are_a_part_of_the_name(self):
        self.make("t", model_name="resnet14")
        for tn in (1.0, 2.0):
            self.make(f"g{tn}", model_name="resnet14", adversarial_model="resnet14",
                      adversarial_resume="t/best_model.safetensors", Tn=tn)
            self.make(f"s{tn}", method="kd", teacher_model="resnet14", alpha=0.9, temperature=[1, 2],
                      teacher_resume=f"g{tn}/best_model.safetensors")
        self.make("warm", method="kd", teacher_model="resnet14", alpha=0.9, temperature=[1, 2], randaugment=[2, 9],
                  teacher_resume="g1.0/best_model.safetensors")
        names = {name: cell(run) for name, run in self.found().items()}
        self.assertEqual(names, {
            "t": "standard resnet14", "g1.0": "generous resnet14 (Tn 1.0)", "g2.0": "generous resnet14 (Tn 2.0)",
            "s1.0": "resnet8 kd of generous resnet14 (Tn 1.0)", "s2.0": "resnet8 kd of generous resnet14 (Tn 2.0)",
            "warm": "resnet8 kd of generous resnet14 (Tn 1.0) (randaugment 2,9)"})

    def test_a_teacher_elsewhere(self):
        self.make("s", method="dkd", teacher_model="vgg8", teacher_resume="/none/best_model.safetensors")
        run = self.found()["s"]
        self.assertEqual((run.teacher, cell(run), run.method), (None, "resnet8 dkd of vgg8", "dkd"))

    def test_copies_are_told_apart(self):
        self.make("a/x")
        self.make("b/x")
        self.assertEqual([cell(run) for run in self.found().values()], ["resnet8 alone in a/x", "resnet8 alone in b/x"])

    def test_roots_may_overlap(self):
        self.make("a/x")
        self.assertEqual(len(find_runs([self.root, self.root / "a", self.root / "a" / "x"])), 1)
        with self.assertRaisesRegex(RunError, "no such folder"):
            find_runs([self.root / "none"])

    def test_damaged_folders_are_one_line(self):
        folder = self.make("r")
        for name, text, words in (("params.json", "{", "Expecting"),
                                  ("params.json", "[1]", "JSON object, found a list"),
                                  ("params.json", '{"seed": "x"}', 'seed: expected an integer, found "x"'),
                                  ("metrics.csv", "epoch\n1\n", "expected a column test_loss"),
                                  ("metrics.csv", "", "No columns"), ("params.json", "\xff", "codec")):
            path = folder / name
            kept = path.read_bytes()
            path.write_bytes(text.encode("latin-1"))
            with self.assertRaises(RunError) as caught:
                find_runs([self.root])
            self.assertTrue(str(caught.exception).startswith(f"{path}: "), caught.exception)
            self.assertIn(words, str(caught.exception))
            self.assertNotIn("\n", str(caught.exception))
            path.write_bytes(kept)


if __name__ == "__main__":
    unittest.main()
