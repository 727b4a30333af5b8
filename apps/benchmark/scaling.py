#!/usr/bin/env python3
"""How the cost of a training step grows: images/s and peak MiB by batch and threads, by depth and by width.

    python3 apps/benchmark/scaling.py [--dtype f32]     prints README.md's two tables, measured by build/apps/benchmark
"""
import argparse
import json
import pathlib
import subprocess

BENCHMARK = pathlib.Path(__file__).resolve().parents[2] / "build" / "apps" / "benchmark"
BATCHES = (1, 8, 32, 128, 512, 1024)
DEPTHS = ("resnet8", "resnet20", "resnet56", "resnet110")
WIDTHS = ("wrn_16_1", "wrn_16_2", "wrn_16_4")


def measure(model, dtype, batch, threads):
    """'images/s, MiB' of a standard training step; small batches take more steps."""
    steps = 5 if batch >= 128 else 21
    done = subprocess.run([BENCHMARK, "--models", model, "--dtypes", dtype, "--batch", str(batch), "--threads",
                           str(threads), "--steps", str(steps), "--device", "cpu", "--json", "1"],
                          stdout=subprocess.PIPE, text=True, check=True)
    line = json.loads(done.stdout)
    return f"{line['images_per_s']:.0f}, {line['peak_rss_mib']}"


def table(head, rows):
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)
    print()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", default="f32", choices=("f32", "bf16"))
    dtype = parser.parse_args().dtype
    table([f"{dtype}: images/s, MiB"] + [f"batch {batch}" for batch in BATCHES],
          ([f"{model}, {threads} thread{'s' if threads > 1 else ''}"] +
           [measure(model, dtype, batch, threads) for batch in BATCHES]
           for model in ("preresnet20", "resnet18") for threads in (1, 2)))
    table([f"{dtype}, batch 128, 2 threads", "images/s, MiB"],
          ([model, measure(model, dtype, 128, 2)] for model in DEPTHS + WIDTHS))


if __name__ == "__main__":
    main()
