#!/usr/bin/env python3
"""Compares build/apps/benchmark with PyTorch on this machine, in alternation, and prints README.md's table.

    python3 apps/benchmark/compare.py --python VENV/bin/python --output FILE.jsonl
    python3 apps/benchmark/compare.py --table FILE.jsonl

The yardstick, torch_yardstick.py, measures PyTorch's steps; another script may take its place that prints one JSON
object a line with images_per_s, layout, mode and peak_rss_mib, for --models, --stages, --dtypes, --layouts, --modes, --batch, --steps
and --threads, and --teacher and --classes where these are given. For every model and dtype it first runs all of PyTorch's variants once, of the first training stage asked
for and of inference ("variants" in the output); the fastest one then takes turns with ours, each run in a process of its
own. Cells already in the output file are skipped: an interrupted comparison goes on. The ratio is the median over the turns, ours over PyTorch's, with the smallest and the largest.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

MODELS = "resnet18,wrn_16_2,wrn_40_2,resnet8x4,preresnet20,resnet20,net"
BENCHMARK = pathlib.Path(__file__).resolve().parents[2] / "build" / "apps" / "benchmark"


def json_lines(command):
    """The JSON objects that a command prints; its errors go to the terminal."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"compare: {' '.join(map(str, command))} failed with {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


class Comparison:
    def __init__(self, options):
        self.options = options
        self.fastest = {}  # by model, dtype, and whether it is inference

    def variants(self, cell):
        """PyTorch's variants of a cell, measured once, or of an earlier training stage of the same model and dtype."""
        model, stage, dtype = cell
        kind = model, dtype, stage == "infer"
        if kind not in self.fastest:
            self.fastest[kind] = self.pytorch(cell, "nchw,nhwc", "eager,compile")
        return self.fastest[kind]

    def teacher(self):
        o = self.options
        return (["--teacher", o.teacher] if o.teacher else []) + (["--classes", str(o.classes)] if o.classes else [])

    def ours(self, cell, *more):
        model, stage, dtype = cell
        o = self.options
        return json_lines([BENCHMARK, "--models", model, "--stages", stage, "--dtypes", dtype, "--batch", str(o.batch),
                           "--steps", str(o.steps), "--threads", str(o.threads), "--device", "cpu", "--json", "1",
                           *self.teacher(), *more])[0]

    def pytorch(self, cell, layouts, modes):
        model, stage, dtype = cell
        o = self.options
        lines = json_lines([o.python, o.yardstick, "--models", model, "--stages", stage, "--dtypes", dtype,
                            "--layouts", layouts, "--modes", modes, "--batch", str(o.batch), "--steps", str(o.steps),
                            "--threads", str(o.threads), *self.teacher()])
        measured = [line for line in lines if "best" not in line and "error" not in line]
        if not measured:
            why = "; ".join(line["error"] for line in lines if "error" in line)
            sys.exit(f"compare.py: the yardstick measured nothing of {model} {stage} {dtype}: {why or 'no line of JSON'}")
        return measured

    def run(self, cell):
        variants = self.variants(cell)
        best = max(variants, key=lambda line: line["images_per_s"])
        turns = []
        for _ in range(self.options.rounds):
            ours = self.ours(cell)
            theirs = self.pytorch(cell, best["layout"], best["mode"])[0]
            turns.append({"ours": ours, "pytorch": theirs})
        ratios = [t["ours"]["images_per_s"] / t["pytorch"]["images_per_s"] for t in turns]
        result = {
            "model": cell[0], "teacher": self.options.teacher or cell[0], "stage": cell[1], "dtype": cell[2], "batch": self.options.batch,
            "threads": self.options.threads, "variant": f"{best['mode']} {best['layout']}",
            "variants": {f"{v['mode']} {v['layout']}": v["images_per_s"] for v in variants},
            "ratio": statistics.median(ratios), "least": min(ratios), "most": max(ratios),
            "images_per_s": statistics.median(t["ours"]["images_per_s"] for t in turns),
            "pytorch_images_per_s": statistics.median(t["pytorch"]["images_per_s"] for t in turns),
            "peak_rss_mib": max(t["ours"]["peak_rss_mib"] for t in turns),
            "pytorch_peak_rss_mib": min(t["pytorch"]["peak_rss_mib"] for t in turns),
            "set_up_s": max(t["ours"]["set_up_s"] for t in turns),
            "first_step_s": max(t["ours"]["first_step_s"] for t in turns),
        }
        if cell[1] == "standard":
            result["ratio_to_convolutions"] = self.ours(cell, "--limit", "1")["ratio_to_convolutions"]
        return result


def key(result):
    return result["model"], result["stage"], result["dtype"]


def read(path):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def table(results):
    """Markdown: a row a model, a column for every stage and dtype, then memory and the limit."""
    cells = {key(r): r for r in results}
    columns = list(dict.fromkeys((r["dtype"], r["stage"]) for r in results))
    lines = ["| | " + " | ".join(f"{dtype} {stage}" for dtype, stage in columns) +
             " | memory, most | step / convolutions, f32 |",
             "|---" * (len(columns) + 3) + "|"]
    for model in dict.fromkeys(r["model"] for r in results):
        row = [model]
        for dtype, stage in columns:
            r = cells.get((model, stage, dtype))
            row.append(f"{r['ratio']:.2f} ({r['least']:.2f}-{r['most']:.2f})" if r else "")
        mine = [r for r in results if r["model"] == model]
        row.append(f"{max(r['peak_rss_mib'] / r['pytorch_peak_rss_mib'] for r in mine):.2f}")
        limit = cells.get((model, "standard", "f32"), {}).get("ratio_to_convolutions")
        row.append(f"{limit:.2f}" if limit else "")
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--yardstick", default=pathlib.Path(__file__).with_name("torch_yardstick.py"),
                        help="the script that measures PyTorch")
    parser.add_argument("--python", default=sys.executable, help="an interpreter that has PyTorch")
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--stages", default="standard,generous")
    parser.add_argument("--dtypes", default="f32,bf16")
    parser.add_argument("--teacher", help="the network to learn from, by default the same")
    parser.add_argument("--classes", type=int)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each")
    parser.add_argument("--output", help="JSON lines, appended to")
    parser.add_argument("--table", help="only print the table of such a file")
    options = parser.parse_args()
    if options.table:
        print(table(read(options.table)))
        return
    if not options.output:
        parser.error("--output is needed, or --table")
    done = {key(r) for r in read(options.output)}
    comparison = Comparison(options)
    for model in options.models.split(","):
        for dtype in options.dtypes.split(","):
            for stage in options.stages.split(","):
                if (model, stage, dtype) in done:
                    continue
                result = comparison.run((model, stage, dtype))
                with open(options.output, "a", encoding="utf-8") as file:
                    file.write(json.dumps(result) + "\n")
                print(f"{model} {stage} {dtype}: {result['ratio']:.2f} ({result['least']:.2f} to {result['most']:.2f}) "
                      f"of {result['variant']}, {result['images_per_s']:.0f} against "
                      f"{result['pytorch_images_per_s']:.0f} images/s", flush=True)
    print(table(read(options.output)))


if __name__ == "__main__":
    main()
