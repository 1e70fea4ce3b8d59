"""A compact residual net for small pictures and CPUs.

Source: He et al., CVPR 2016, in the pre-narrowed form of small-picture nets (Zagoruyko and Komodakis, BMVC 2016).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from training.models.backbone import Backbone


def _convolution(channels: int, out: int, *, size: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out, size, stride=stride, padding=size // 2, bias=False), nn.BatchNorm2d(out)
    )


def _quartering(out: int) -> nn.Sequential:
    return nn.Sequential(
        _convolution(3, out // 2, stride=2), nn.ReLU(inplace=True), _convolution(out // 2, out, stride=2)
    )


class ResidualBlock(nn.Module):
    """Two convolutions and a way around them; the second begins as nothing."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(channels, out, stride=stride)
        self.second = _convolution(out, out)
        nn.init.zeros_(self.second[1].weight)
        self.around = _convolution(channels, out, size=1) if (stride, channels) != (1, out) else None
        self.stride = stride

    def forward(self, x_BCHW: Tensor) -> Tensor:
        kept = x_BCHW if self.stride == 1 else functional.avg_pool2d(x_BCHW, self.stride, ceil_mode=True)
        kept = kept if self.around is None else self.around(kept)
        changed = self.second(functional.relu(self.first(x_BCHW), inplace=True))
        return functional.relu(changed + kept, inplace=True)


class ResidualNet(Backbone):
    """Four stages of doubling width, each at half the resolution of the one before.

    The first stage sees a quarter of the picture's resolution, all of it where the picture is `small`.
    """

    def __init__(self, width: int, blocks: tuple[int, int, int, int], *, small: bool) -> None:
        super().__init__()
        stem_stride = 1 if small else 4
        self.pooling_power = 1.0 if small else 3.0
        self.channels = tuple(width << stage for stage in range(4))
        self.strides = tuple(stem_stride << stage for stage in range(4))
        self.stem = _convolution(3, width) if small else _quartering(width)
        self.stages = nn.ModuleList(self._stage(stage, count) for stage, count in enumerate(blocks))

    def _stage(self, stage: int, count: int) -> nn.Sequential:
        out = self.channels[stage]
        entering = self.channels[max(stage - 1, 0)]
        first = ResidualBlock(entering, out, 1 if stage == 0 else 2)
        return nn.Sequential(first, *(ResidualBlock(out, out, 1) for _ in range(count - 1)))

    def forward(self, x_BCHW: Tensor) -> list[Tensor]:
        x_BCHW = functional.relu(self.stem(x_BCHW), inplace=True)
        maps = []
        for stage in self.stages:
            x_BCHW = stage(x_BCHW)
            maps.append(x_BCHW)
        return maps
