#!/usr/bin/env python3
"""What a GPU needs at least for a training step: for each op of the step, its kernels' arithmetic at the peak of the
tensor cores, their memory traffic at the bandwidth, or the time between two nodes of a graph, whichever is longest.

The ops come from a trace, which needs no GPU (on a CPU with bf16, or the emulation):

    build/apps/benchmark --models resnet18 --dtypes bf16 --batch 128 --steps 1 --profile 1 --device cpu
    python3 cuda/roofline.py resnet18_standard_bf16.trace.json
"""

import argparse
import collections
import dataclasses
import json
import re
import sys


@dataclasses.dataclass(frozen=True)
class Gpu:
    """From the data sheets of the SXM modules: dense bf16, HBM. A node of a graph takes no less than 1.5 us (assumed)."""
    name: str
    flops: float
    bandwidth: float
    node: float = 1.5e-6


GPUS = [Gpu("H100", 989e12, 3.35e12), Gpu("A100", 312e12, 2.04e12)]

# Kernels an op has in cuda/, and how often each element of its tensor moves: (kernels, reads and writes).
ELEMENTWISE = {
    "batch_norm_train": (2, 3),     # x for the sums; x and y for the map (a residual comes on top)
    "batch_norm_backward": (2, 5),  # x and dy for the sums; x, dy and dx for the map
    "accumulate": (1, 3),
    "binary": (1, 3),
    "cast": (1, 2),
    "unary": (1, 2),
    "unary_backward": (1, 4),
}
HOST = {"copy_from_host", "copy_to_host", "fill", "cast {128, 32, 32, 3}"}  # none of a recorded step's nodes
SGD_BYTES = 2 + 8 + 8 + 2  # of a parameter: bf16 gradient, velocity and weight read and written, bf16 shadow


@dataclasses.dataclass
class Op:
    term: str
    nodes: int = 1
    flops: float = 0.0
    bytes: float = 0.0

    def seconds(self, gpu: Gpu) -> float:
        return max(self.flops / gpu.flops, self.bytes / gpu.bandwidth, self.nodes * gpu.node)


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def product(values: list[int]) -> int:
    result = 1
    for value in values:
        result *= value
    return result


def convolution(detail: str) -> tuple[Op, int]:
    """The op, and its weights."""
    found = re.match(r"(forward|inference|backward data|backward weight) x \{(.*?)\} weight \{(.*?)\} "
                     r"stride (\d+) padding (\d+) groups (\d+) (\w+)", detail)
    if not found:
        sys.exit(f"a convolution of unknown form: {detail}")
    n, h, w, c = numbers(found.group(2))
    k, r, s, of_group = numbers(found.group(3))
    stride, padding = int(found.group(4)), int(found.group(5))
    p, q = (h + 2 * padding - r) // stride + 1, (w + 2 * padding - s) // stride + 1
    elements = n * h * w * c + k * r * s * of_group + n * p * q * k
    if " + residual" in detail:  # read beside the sums, of the result's shape
        elements += n * h * w * c if found.group(1) == "backward data" else n * p * q * k
    flops = 2.0 * n * p * q * k * r * s * of_group
    size = 2 if found.group(7) == "bf16" else 4
    return Op(f"convolutions {found.group(1)}", 1, flops, size * elements), k * r * s * of_group


def ops_of(trace: list[dict]) -> list[Op]:
    ops, weights = [], 0
    for event in trace:
        name, detail = event["name"], event["args"]["detail"]
        if name in HOST or f"{name} {detail.rsplit(' ', 1)[0]}" in HOST:
            continue
        if name == "convolution":
            op, count = convolution(detail)
            if detail.startswith("forward"):
                weights += count
            ops.append(op)
        elif name in ELEMENTWISE:
            kernels, moves = ELEMENTWISE[name]
            size = 2 if detail.endswith("bf16") else 4
            term = "batch norm" if name.startswith("batch_norm") else "other elementwise"
            ops.append(Op(term, kernels, 0.0, moves * size * product(numbers(detail.rsplit(" ", 1)[0]))))
        elif name == "sgd_step":
            ops.append(Op("optimiser", 1, 0.0, SGD_BYTES * weights))
        else:
            ops.append(Op("small ones"))
    return ops


def main() -> None:
    parser = argparse.ArgumentParser(description="The least time of a training step on a GPU, term by term.")
    parser.add_argument("trace", nargs="+", help="written by benchmark --profile 1")
    parser.add_argument("--batch", type=int, default=128, help="images of the step that was traced")
    options = parser.parse_args()
    for path in options.trace:
        with open(path, encoding="utf-8") as file:
            ops = ops_of(json.load(file)["traceEvents"])
        terms: dict[str, list[Op]] = collections.defaultdict(list)
        for op in ops:
            terms[op.term].append(op)
        print(f"{path}: {sum(op.nodes for op in ops)} nodes")
        print(f"  {'':24} {'nodes':>5} {'GFLOP':>8} {'MB':>8}" + "".join(f" {gpu.name + ' us':>9}" for gpu in GPUS))
        for term, of_term in sorted(terms.items()) + [("all", ops)]:
            times = "".join(f" {1e6 * sum(op.seconds(gpu) for op in of_term):9.0f}" for gpu in GPUS)
            print(f"  {term:24} {sum(op.nodes for op in of_term):5} {sum(op.flops for op in of_term) / 1e9:8.1f} "
                  f"{sum(op.bytes for op in of_term) / 1e6:8.1f}{times}")
        for gpu in GPUS:
            least = sum(op.seconds(gpu) for op in ops)
            print(f"  {gpu.name}: at most {options.batch / least:,.0f} images/s, "
                  f"{100 * sum(op.flops for op in ops) / least / gpu.flops:.0f} % of its peak")


if __name__ == "__main__":
    main()
