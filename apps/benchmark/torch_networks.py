"""The networks of the speed tables in PyTorch, with the layers and the state-dict names of nn/models:
`network(name, classes).load_state_dict(..., strict=True)` takes the programs' weight files."""
import re

from torch import nn
from torch.nn import functional as F


def conv(inputs, outputs, size, stride=1, bias=False):
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=bias)


class Residual(nn.Module):
    """ReLU after the sum (He et al. 2015): two 3x3 convolutions, or a bottleneck that leaves with four times the width."""

    def __init__(self, inputs, width, stride, bottleneck, shortcut):
        super().__init__()
        outputs = 4 * width if bottleneck else width
        shapes = [(inputs, width, 1, 1), (width, width, 3, stride), (width, outputs, 1, 1)] if bottleneck else \
                 [(inputs, width, 3, stride), (width, width, 3, 1)]
        self.pairs = []
        for number, (taken, given, size, step) in enumerate(shapes, 1):
            self.add_module(f"conv{number}", conv(taken, given, size, step))
            self.add_module(f"bn{number}", nn.BatchNorm2d(given))
            self.pairs.append((f"conv{number}", f"bn{number}"))
        self.name = shortcut
        changes = stride != 1 or inputs != outputs
        self.add_module(shortcut, nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)) if changes
                        else nn.Identity())
        self.outputs = outputs

    def forward(self, x):
        y = x
        for number, (convolution, norm) in enumerate(self.pairs, 1):
            y = getattr(self, norm)(getattr(self, convolution)(y))
            if number < len(self.pairs):
                y = F.relu(y, inplace=True)
        return F.relu(y + getattr(self, self.name)(x), inplace=True)


class PreActivated(nn.Module):
    """Norm and ReLU before each of two convolutions (He et al. 2016). A wide network's shortcut, where the width
    changes, takes the activated input (Zagoruyko 2016), the others' the raw one."""

    def __init__(self, inputs, outputs, stride, wide):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), conv(inputs, outputs, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), conv(outputs, outputs, 3)
        self.wide = wide
        self.changes = stride != 1 or inputs != outputs
        if self.changes and wide:
            self.convShortcut = conv(inputs, outputs, 1, stride)
        elif self.changes:
            self.downsample = nn.Sequential(conv(inputs, outputs, 1, stride))
        self.outputs = outputs

    def forward(self, x):
        activated = F.relu(self.bn1(x), inplace=True)
        y = self.conv2(F.relu(self.bn2(self.conv1(activated)), inplace=True))
        if not self.changes:
            return y + x
        return y + (self.convShortcut(activated) if self.wide else self.downsample(x))


class Stages(nn.Module):
    """A 3x3 convolution, stages of blocks, of which all but the first halve the image, the mean, and a classifier."""

    def __init__(self, stem, widths, counts, block, names, last_norm, classes):
        super().__init__()
        stage_name, first_norm, classifier = names
        self.conv1 = conv(3, stem, 3)
        self.first_norm, self.last_norm, self.classifier = first_norm, last_norm, classifier
        if first_norm:
            self.add_module(first_norm, nn.BatchNorm2d(stem))
        channels = stem
        self.stages = []
        for number, (width, count) in enumerate(zip(widths, counts), 1):
            blocks = []
            for i in range(count):
                blocks.append(block(channels, width, 2 if number > 1 and i == 0 else 1))
                channels = blocks[-1].outputs
            self.add_module(stage_name.format(number).split(".")[0], nested(stage_name, nn.Sequential(*blocks)))
            self.stages.append(stage_name.format(number).split(".")[0])
        if last_norm:
            self.add_module(last_norm, nn.BatchNorm2d(channels))
        self.add_module(classifier, nn.Linear(channels, classes))

    def forward(self, x):
        y = self.conv1(x)
        if self.first_norm:
            y = F.relu(getattr(self, self.first_norm)(y), inplace=True)
        for stage in self.stages:
            y = getattr(self, stage)(y)
        if self.last_norm:
            y = F.relu(getattr(self, self.last_norm)(y), inplace=True)
        return getattr(self, self.classifier)(y.mean((2, 3)))


def nested(name, module):
    """`module` behind what follows the dot of its stage's name."""
    inner = name.partition(".")[2]
    if not inner:
        return module
    outer = nn.Sequential()
    outer.add_module(inner, module)
    return outer


class Net(nn.Module):
    """Three times convolution, norm, pooling, ReLU; two linear layers."""

    def __init__(self, classes, width=32):
        super().__init__()
        self.conv1, self.bn1 = conv(3, width, 3, bias=True), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, 2 * width, 3, bias=True), nn.BatchNorm2d(2 * width)
        self.conv3, self.bn3 = conv(2 * width, 4 * width, 3, bias=True), nn.BatchNorm2d(4 * width)
        self.fc1, self.fcbn1 = nn.Linear(4 * 4 * 4 * width, 4 * width), nn.BatchNorm1d(4 * width)
        self.fc2 = nn.Linear(4 * width, classes)

    def forward(self, x):
        for convolution, norm in ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3)):
            x = F.relu(F.max_pool2d(norm(convolution(x)), 2))
        return self.fc2(F.relu(self.fcbn1(self.fc1(x.flatten(1)))))


RESNETS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
SHAPES = "net, resnet18, 34, 50, 101 and 152, resnetD and preresnetD with D = 6n+2, resnet8x4, resnet32x4, wrn_D_K"


def network(name, classes):
    """For images of 32x32 in colour. Throws ValueError for a network that is not here."""
    if name == "net":
        return Net(classes)
    if match := re.fullmatch(r"wrn_(\d+)_(\d+)", name):
        depth, factor = map(int, match.groups())
        return Stages(16, [16 * factor, 32 * factor, 64 * factor], [(depth - 4) // 6] * 3,
                      lambda *shape: PreActivated(*shape, wide=True), ("block{}.layer", "", "fc"), "bn1", classes)
    if match := re.fullmatch(r"(pre)?resnet(\d+)(x4)?", name):
        depth = int(match[2])
        if not match[1] and not match[3] and depth in RESNETS:
            bottleneck = depth >= 50
            return Stages(64, [64, 128, 256, 512], RESNETS[depth],
                          lambda *shape: Residual(*shape, bottleneck, "shortcut"), ("layer{}", "bn1", "linear"), "", classes)
        counts = [(depth - 2) // 6] * 3
        if depth % 6 == 2 and not match[1]:
            widths = [64, 128, 256] if match[3] else [16, 32, 64]
            return Stages(32 if match[3] else 16, widths, counts,
                          lambda *shape: Residual(*shape, False, "downsample"), ("layer{}", "bn1", "fc"), "", classes)
        if depth % 6 == 2 and depth < 44:  # deeper ones have bottlenecks
            return Stages(16, [16, 32, 64], counts, lambda *shape: PreActivated(*shape, wide=False),
                          ("layer{}", "", "fc"), "bn", classes)
    raise ValueError(f"there is no '{name}'; there are {SHAPES}")
