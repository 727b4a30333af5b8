"""Folders of runs as the programs and `evaluate --report` leave them, with invented numbers: for tests of
the page."""
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy
import pandas
from PIL import Image

LOG = ("2026-01-01 10:00:00  {program}: {model} ({parameters} parameters) on fashion_mnist: 60000 training "
       "and 10000 test images of 28 x 28 x 1, {classes} classes\n2026-01-01 10:00:00  device auto: CPU "
       "(oneDNN 2.6.3, AVX-512, 2 threads), f32; sgd, learning rate 0.05; seed {seed}; run folder "
       "{folder}\n2026-01-01 10:09:00  done: best top-1 91.00 % in epoch 3; weights, metrics and log are in "
       "{folder}; at most {memory} MiB of memory\n")


@dataclass(frozen=True)
class Made:
    """What a study is made of."""
    teacher: str = "resnet14"
    student: str = "resnet8"
    methods: tuple[str, ...] = ("kd", "dkd")
    seeds: tuple[int, ...] = (1, 2, 3)
    classes: int = 10
    images: int = 300          # of the test split
    epochs: int = 5
    gain: float = 0.4          # of a generous teacher's student, in points
    validation: bool = False
    reports: bool = True
    features: int = 120
    settings: dict = field(default_factory=dict)


def make(root: Path, made: Made = Made()) -> None:
    """A standard and a generous teacher, the student alone and each method's students of both, once a
    seed."""
    for seed in made.seeds:
        _run(root, made, "standard_teacher", seed, made.teacher, 91.0, {})
        standard = root / f"standard_teacher_{seed}" / "best_model.safetensors"
        _run(root, made, "generous_teacher", seed, made.teacher, 90.7,
             {"adversarial_model": made.teacher, "adversarial_resume": str(standard), "Tn": 1.0,
              "alpha": 1.0})
        _run(root, made, "alone", seed, made.student, 88.0, {})
        for method in made.methods:
            for kind, gain in (("standard", 0.0), ("generous", made.gain)):
                teacher = root / f"{kind}_teacher_{seed}" / "best_model.safetensors"
                _run(root, made, f"{method}_of_{kind}", seed, made.student, 89.0 + gain,
                     {"method": method, "teacher_model": made.teacher, "teacher_resume": str(teacher),
                      "temperature": 4.0}, teacher=f"{kind}_teacher_{seed}")


def _run(root: Path, made: Made, name: str, seed: int, model: str, accuracy: float, params: dict,
         teacher: str | None = None) -> None:
    folder = root / f"{name}_{seed}"
    folder.mkdir(parents=True)
    random = numpy.random.default_rng([seed, *name.encode()])
    accuracy += float(random.normal(0, 0.15))
    drop = made.epochs * 3 // 4
    common = {"model_name": model, "dataset": "fashion_mnist", "data_dir": "/images", "batch_size": 64,
              "learning_rate": 0.05, "schedule": [drop], "gamma": 0.1, "seed": seed,
              "num_epochs": made.epochs, "threads": 1}
    (folder / "params.json").write_text(json.dumps({**common, **params, **made.settings}, indent=4))
    program = "train_kd" if "teacher_resume" in params else "train_generous" if params else "train_standard"
    (folder / "training.log").write_text(LOG.format(
        program=program, model=model, parameters=77850 if model == made.student else 174970,
        classes=made.classes, seed=seed, folder=folder, memory=200 + len(model)))
    _metrics(made, drop, accuracy, random, program).to_csv(folder / "metrics.csv", index=False)
    for weights in ("best_model", "last_model"):
        (folder / f"{weights}.safetensors").write_bytes(b"")
    if made.reports:
        _report(folder / "report", made, model, accuracy, random, root / teacher if teacher else None)


def _metrics(made: Made, drop: int, accuracy: float, random: numpy.random.Generator,
             program: str) -> pandas.DataFrame:
    epoch = numpy.arange(1, made.epochs + 1)
    reached = accuracy - 25 * numpy.exp(-epoch / 1.5) + random.normal(0, 0.1, made.epochs)
    table = pandas.DataFrame({"epoch": epoch, "lr": numpy.where(epoch <= drop, 0.05, 0.005)})
    terms = {"train_standard": ["cross_entropy"], "train_generous": ["cross_entropy", "nckd"],
             "train_kd": ["cross_entropy", "kd"]}[program]
    for term in (*terms, "train_loss"):
        table[term] = 1.2 * numpy.exp(-epoch / 3) + 0.2
    table["train_top1_percent"] = reached + 1
    table["test_loss"] = 2 * numpy.exp(-epoch / 2) + 0.3 + (100 - accuracy) / 100
    table["test_top1_percent"] = reached
    if made.validation:
        table["validation_loss"], table["validation_top1_percent"] = table["test_loss"], reached + 0.3
    table["images_per_s"] = 1500.0
    table["seconds"] = 42.0 + random.normal(0, 1, made.epochs)
    return table


def _report(folder: Path, made: Made, model: str, accuracy: float, random: numpy.random.Generator,
            teacher: Path | None) -> None:
    """In the form that `evaluate --report` documents."""
    (folder / "worst").mkdir(parents=True)
    names = [f"class {i}" if i else 'T-shirt, "top" é' for i in range(made.classes)]
    k = made.classes
    label = numpy.arange(made.images) % k
    means = random.normal(0, 0.7, (k, k)) + 9 * numpy.eye(k) * accuracy / 100
    logits = means[label] + random.normal(0, 2.2, (made.images, k))
    odds = numpy.exp(logits - logits.max(axis=1, keepdims=True))
    odds /= odds.sum(axis=1, keepdims=True)
    predicted, confidence = logits.argmax(axis=1), odds.max(axis=1)
    loss = -numpy.log(odds[numpy.arange(made.images), label])
    deviation = logits.std(axis=1)
    entropy = _non_target_entropy(logits, label)
    images = pandas.DataFrame({"image": range(made.images), "label": label, "predicted": predicted,
                               "loss": loss, "confidence": confidence, "logit_mean": logits.mean(axis=1),
                               "logit_deviation": deviation, "non_target_entropy": entropy})
    correct = predicted == label
    summary = {
        "model": model, "parameters": 77850, "weights": str(folder.parent / "best_model.safetensors"),
        "dataset": "fashion_mnist", "split": "test", "classes": names, "images": made.images,
        "loss": float(loss.mean()), "top1": 100 * float(correct.mean()), "top5": 99.5,
        "expected_calibration_error": float(abs(confidence.mean() - correct.mean())),
        "logit_mean": float(logits.mean()), "logit_deviation": float(deviation.mean()),
        "logit_deviation_spread": float(deviation.std()), "non_target_entropy": float(entropy.mean()),
        "non_target_entropy_at_sigma": float(_non_target_entropy(logits / deviation[:, None], label).mean()),
        "learned_normalisation": ""}
    if teacher:
        images["teacher_predicted"] = numpy.where(random.random(made.images) < 0.9, predicted, label)
        images["kl"] = random.gamma(1, 0.2, made.images)
        summary["teacher"] = {"model": made.teacher, "weights": str(teacher / "best_model.safetensors"),
                              "loss": 0.25, "top1": 91.0, "agreement": 90.0 + float(random.normal()),
                              "kl": 0.2, "class_logit_distance": 1.4}
        differences = pandas.DataFrame(random.normal(0, 0.5, (k, k)), columns=names)
        differences.insert(0, "label", names)
        differences.to_csv(folder / "class_logit_differences.csv", index=False)
    (folder / "report.json").write_text(json.dumps(summary, ensure_ascii=False))
    images.to_csv(folder / "images.csv", index=False)
    _class_files(folder, names, label, predicted, correct, confidence, logits)
    _worst(folder, images, random)
    if made.features:
        chosen = numpy.arange(min(made.features, made.images))
        features = pandas.DataFrame(random.normal(0, 1, (len(chosen), 16)) + 2 * label[chosen, None] % 7,
                                    columns=[f"f{i}" for i in range(16)])
        features.insert(0, "label", label[chosen])
        features.insert(0, "image", chosen)
        features.to_csv(folder / "features.csv", index=False)


def _non_target_entropy(logits: numpy.ndarray, label: numpy.ndarray) -> numpy.ndarray:
    own = numpy.arange(len(label)) * logits.shape[1] + label
    others = numpy.delete(logits.ravel(), own).reshape(len(label), -1)
    odds = numpy.exp(others - others.max(axis=1, keepdims=True))
    odds /= odds.sum(axis=1, keepdims=True)
    return -(odds * numpy.log(odds + 1e-30)).sum(axis=1)


def _class_files(folder: Path, names: list[str], label, predicted, correct, confidence, logits) -> None:
    k = len(names)
    of_class = [label == c for c in range(k)]
    pandas.DataFrame({"class": range(k), "name": names, "images": [int(of.sum()) for of in of_class],
                      "top1": [100 * correct[of].mean() for of in of_class], "top5": 99.0,
                      "mean_confidence": [confidence[of].mean() for of in of_class]}
                     ).to_csv(folder / "classes.csv", index=False)
    confusion = numpy.zeros((k, k), int)
    numpy.add.at(confusion, (label, predicted), 1)
    for name, matrix in (("confusion", confusion),
                         ("class_logits", numpy.array([logits[of].mean(axis=0) for of in of_class]))):
        table = pandas.DataFrame(matrix, columns=names)
        table.insert(0, "label", names)
        table.to_csv(folder / f"{name}.csv", index=False)
    edges = numpy.linspace(0, 1, 16)
    inside = numpy.clip((confidence * 15).astype(int), 0, 14)
    bins = [inside == b for b in range(15)]
    pandas.DataFrame({"lower": edges[:-1], "upper": edges[1:], "images": [int(b.sum()) for b in bins],
                      "confidence": [confidence[b].mean() if b.any() else numpy.nan for b in bins],
                      "accuracy": [correct[b].mean() if b.any() else numpy.nan for b in bins]}
                     ).to_csv(folder / "calibration.csv", index=False)


def _worst(folder: Path, images: pandas.DataFrame, random: numpy.random.Generator) -> None:
    worst = images.sort_values("loss", ascending=False).head(24)
    worst[["image", "label", "predicted", "loss", "confidence"]].to_csv(folder / "worst.csv", index=False)
    for image in worst["image"]:
        pixels = random.integers(0, 255, (28, 28), dtype=numpy.uint8)
        Image.fromarray(pixels).save(folder / f"worst/{image}.png")
