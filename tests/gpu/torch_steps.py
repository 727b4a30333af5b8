#!/usr/bin/env python3
"""What PyTorch makes of the same training steps on the same GPU: images/s, one line of JSON a measurement.

A step is what apps/benchmark measures: forward, cross-entropy, backward, SGD with momentum and weight decay on one
batch that lies on the GPU, and the loss read back; the median of --steps. Channels last, cuDNN's algorithms measured.
  eager    op by op
  graph    the whole step captured as a CUDA graph
  compile  model and loss compiled by torch.compile, then the whole step captured
Exits 77 where there is no PyTorch, or no GPU for it.
"""
import argparse
import contextlib
import json
import statistics
import sys
import time

try:
    import torch
    from torch import nn
    from torch.nn import functional as F
except ImportError as error:
    print(f"no PyTorch here: {error}")
    sys.exit(77)

CLASSES = 10
LR, MOMENTUM, WEIGHT_DECAY = 0.1, 0.9, 5e-4


def conv(inputs, outputs, size, stride=1):
    return nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)


class PostBlock(nn.Module):
    """conv, norm, ReLU, conv, norm, sum, ReLU; the shortcut is a convolution and a norm where the shape changes."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.norm1 = conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.norm2 = conv(outputs, outputs, 3), nn.BatchNorm2d(outputs)
        changes = stride != 1 or inputs != outputs
        self.shortcut = nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)) if changes else None

    def forward(self, x):
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class PreBlock(nn.Module):
    """norm, ReLU, conv, norm, ReLU, conv, sum; the shortcut takes the raw input, or in wide networks the activated one."""

    def __init__(self, inputs, outputs, stride, wide):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inputs), conv(inputs, outputs, 3, stride)
        self.norm2, self.conv2 = nn.BatchNorm2d(outputs), conv(outputs, outputs, 3)
        self.shortcut = conv(inputs, outputs, 1, stride) if stride != 1 or inputs != outputs else None
        self.wide = wide

    def forward(self, x):
        activated = F.relu(self.norm1(x))
        y = self.conv2(F.relu(self.norm2(self.conv1(activated))))
        if self.shortcut is None:
            return y + x
        return y + self.shortcut(activated if self.wide else x)


def network(name):
    """resnet18, preresnet20 or wrn_16_2 for images of 32x32, with the layers that nn/models has."""
    if name == "resnet18":
        stem, widths, blocks = 64, [64, 128, 256, 512], 2
        make = PostBlock
    elif name in ("preresnet20", "wrn_16_2"):
        wide = name == "wrn_16_2"
        stem, widths, blocks = 16, [w * (2 if wide else 1) for w in (16, 32, 64)], 2 if wide else 3
        make = lambda *shape: PreBlock(*shape, wide)
    else:
        raise SystemExit(f"torch_steps.py: no model '{name}'; there are resnet18, preresnet20, wrn_16_2")
    layers = [conv(3, stem, 3)] + ([nn.BatchNorm2d(stem), nn.ReLU()] if make is PostBlock else [])
    channels = stem
    for stage, width in enumerate(widths):
        for block in range(blocks):
            layers.append(make(channels, width, 2 if stage > 0 and block == 0 else 1))
            channels = width
    if make is not PostBlock:
        layers += [nn.BatchNorm2d(channels), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES))


class Step:
    """A training step of a network on one batch, in one of the modes."""

    def __init__(self, model, dtype, batch, mode, device):
        torch.manual_seed(0)
        net = network(model).to(device, memory_format=torch.channels_last).train()
        self.images = torch.randn(batch, 3, 32, 32, device=device).contiguous(memory_format=torch.channels_last)
        self.labels = torch.randint(0, CLASSES, (batch,), device=device)
        self.optimizer = torch.optim.SGD(net.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, fused=True)
        self.autocast = contextlib.nullcontext
        if dtype == "bf16":
            self.autocast = lambda: torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False)
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
        self.loss_of = lambda: F.cross_entropy(net(self.images).float(), self.labels)
        if mode == "compile":
            self.loss_of = torch.compile(self.loss_of, dynamic=False)
        self.graph = None
        self.loss = None
        if mode != "eager":
            self.capture()

    def compute(self):
        self.optimizer.zero_grad(set_to_none=True)
        with self.autocast():
            self.loss = self.loss_of()
        self.loss.backward()
        self.optimizer.step()

    def capture(self):
        # As PyTorch's documentation has it: a few steps on another stream, before the capture.
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.compute()
        torch.cuda.current_stream().wait_stream(side)
        self.optimizer.zero_grad(set_to_none=True)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.compute()

    def run(self):
        if self.graph is not None:
            self.graph.replay()
        else:
            self.compute()
        return self.loss.item()


def measure(model, mode, options, device):
    begin = time.perf_counter()
    step = Step(model, options.dtype, options.batch, mode, device)
    for _ in range(3):
        step.run()
    ready = time.perf_counter() - begin
    seconds = []
    for _ in range(options.steps):
        begin = time.perf_counter()
        step.run()
        seconds.append(time.perf_counter() - begin)
    median = statistics.median(seconds)
    return {"model": model, "dtype": options.dtype, "batch": options.batch, "mode": mode,
            "images_per_s": options.batch / median, "step_ms": 1e3 * median, "set_up_s": ready,
            "torch": torch.__version__}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="resnet18,preresnet20,wrn_16_2")
    parser.add_argument("--dtype", choices=("bf16", "tf32", "f32"), default="bf16")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--modes", default="eager,graph,compile")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: to try this script, eager alone")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("PyTorch finds no GPU here")
        sys.exit(77)
    torch.backends.cudnn.benchmark = True
    failed = False
    for mode in options.modes.split(","):
        for model in options.models.split(","):
            try:
                print(json.dumps(measure(model, mode, options, torch.device(options.device))), flush=True)
            except Exception as error:  # the others are still worth measuring
                print(f"error: {model} {mode}: {str(error).strip().splitlines()[0]}", flush=True)
                failed = True
    sys.exit(failed)


if __name__ == "__main__":
    main()
