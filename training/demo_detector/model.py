"""A small anchor-free detector: a CSP backbone, a two-way feature pyramid and a distribution-focal head at strides 8, 16 and 32.

Written from the papers: CSPNet (arXiv 1911.11929), PANet (arXiv 1803.01534), SPP (arXiv 1406.4729), Generalized Focal Loss
(arXiv 2006.04388). ReLU throughout, because it folds into integer convolutions and costs nothing there.
"""

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from edgewright.artifact import RAW_ROLES, HeadOutput, HeadSpec, InputSpec
from edgewright.learn.cells import read_cells

STRIDES: Final = (8, 16, 32)
REG_MAX: Final = 16
INPUT: Final = InputSpec("images", (1, 3, 640, 640))
_OUTPUTS = tuple(HeadOutput(f"{role}{stride}", role, stride) for stride in STRIDES for role in RAW_ROLES["yolov8"])
HEAD: Final = HeadSpec("yolov8", STRIDES, REG_MAX, _OUTPUTS)


@dataclass(frozen=True, slots=True)
class Width:
    """Channels of the stem and of the four stages, and of the head's branches."""

    stem: int = 16
    stages: tuple[int, int, int, int] = (24, 48, 80, 128)
    repeats: tuple[int, int, int, int] = (1, 2, 2, 1)
    box: int = 32
    score: int = 32


class ConvNormAct(nn.Module):
    """Convolution, batch norm, ReLU: one convolution once exported."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))  # type: ignore[no-any-return]


class Residual(nn.Module):
    def __init__(self, channels: int, *, shortcut: bool) -> None:
        super().__init__()
        self.first, self.second, self.shortcut = ConvNormAct(channels, channels), ConvNormAct(channels, channels), shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(self.first(x))
        return x + y if self.shortcut else y  # type: ignore[no-any-return]


class CrossStage(nn.Module):
    """Half the channels pass by, half go through residual blocks, and every intermediate result is kept."""

    def __init__(self, inputs: int, outputs: int, repeats: int, *, shortcut: bool) -> None:
        super().__init__()
        half = outputs // 2
        self.enter = ConvNormAct(inputs, outputs, 1)
        self.blocks = nn.ModuleList(Residual(half, shortcut=shortcut) for _ in range(repeats))
        self.leave = ConvNormAct((2 + repeats) * half, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        aside, through = torch.chunk(self.enter(x), 2, 1)
        parts = [aside, through]
        for block in self.blocks:
            parts.append(block(parts[-1]))
        return self.leave(torch.cat(parts, 1))  # type: ignore[no-any-return]


class PooledPyramid(nn.Module):
    """Three max-poolings in a row see 5, 9 and 13 cells wide."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = ConvNormAct(channels, channels // 2, 1)
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.leave = ConvNormAct(channels * 2, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.enter(x)]
        for _ in range(3):
            parts.append(self.pool(parts[-1]))
        return self.leave(torch.cat(parts, 1))  # type: ignore[no-any-return]


def _branch(inputs: int, width: int, outputs: int, *, first_bias: float) -> nn.Sequential:
    layers = (ConvNormAct(inputs, width), ConvNormAct(width, width), nn.Conv2d(width, outputs, 1))
    assert layers[-1].bias is not None
    nn.init.constant_(layers[-1].bias, first_bias)
    return nn.Sequential(*layers)


class Head(nn.Module):
    """One stride's two branches: distributions of the four sides' distances, and class scores."""

    def __init__(self, inputs: int, width: Width, classes: int, stride: int) -> None:
        super().__init__()
        self.box = _branch(inputs, width.box, 4 * REG_MAX, first_bias=1.0)
        # About five objects among the cells of a 640 px picture: the loss starts where the data is.
        self.score = _branch(inputs, width.score, classes, first_bias=math.log(5 / classes / (640 / stride) ** 2))

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.box(x), self.score(x)]


class DemoDetector(nn.Module):
    """Images in 0..1 to the raw maps that HEAD names, finest first: 4 * REG_MAX channels of sides, then a logit for each class."""

    def __init__(self, classes: int, width: Width | None = None) -> None:
        super().__init__()
        width = width or Width()
        c2, c3, c4, c5 = width.stages
        n2, n3, n4, n5 = width.repeats
        self.classes = classes
        self.stem = ConvNormAct(3, width.stem, 3, 2)
        self.stage2 = nn.Sequential(ConvNormAct(width.stem, c2, 3, 2), CrossStage(c2, c2, n2, shortcut=True))
        self.stage3 = nn.Sequential(ConvNormAct(c2, c3, 3, 2), CrossStage(c3, c3, n3, shortcut=True))
        self.stage4 = nn.Sequential(ConvNormAct(c3, c4, 3, 2), CrossStage(c4, c4, n4, shortcut=True))
        self.stage5 = nn.Sequential(ConvNormAct(c4, c5, 3, 2), CrossStage(c5, c5, n5, shortcut=True), PooledPyramid(c5))
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.down4 = CrossStage(c5 + c4, c4, 1, shortcut=False)
        self.down3 = CrossStage(c4 + c3, c3, 1, shortcut=False)
        self.step4 = ConvNormAct(c3, c3, 3, 2)
        self.up4 = CrossStage(c3 + c4, c4, 1, shortcut=False)
        self.step5 = ConvNormAct(c4, c4, 3, 2)
        self.up5 = CrossStage(c4 + c5, c5, 1, shortcut=False)
        self.heads = nn.ModuleList(Head(c, width, classes, s) for c, s in zip((c3, c4, c5), STRIDES, strict=True))

    def forward(self, images: Tensor) -> list[Tensor]:
        p3 = self.stage3(self.stage2(self.stem(images)))
        p4 = self.stage4(p3)
        p5 = self.stage5(p4)
        q4 = self.down4(torch.cat([self.upsample(p5), p4], 1))
        q3 = self.down3(torch.cat([self.upsample(q4), p3], 1))
        r4 = self.up4(torch.cat([self.step4(q3), q4], 1))
        r5 = self.up5(torch.cat([self.step5(r4), p5], 1))
        return [each for head, x in zip(self.heads, (q3, r4, r5), strict=True) for each in head(x)]


def decode(maps: list[Tensor]) -> Tensor:
    """What the exported graph computes: [N, 4 + classes, A] of cx, cy, w, h in pixels and scores."""
    cells = read_cells(HEAD, maps)
    low, high = cells.boxes_xyxy[..., :2], cells.boxes_xyxy[..., 2:]
    return torch.cat([(low + high) / 2, high - low, cells.scores()], -1).transpose(1, 2)
