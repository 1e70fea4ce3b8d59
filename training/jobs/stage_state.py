"""What a stage of a vision training has learnt: weights, their average, the optimiser's moments, the best epoch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.contracts.atomic import write_json
from training.contracts.errors import InputError, Problem
from training.jobs.vision_course import VisionCourse
from training.jobs.weight_average import WeightAverage

TENSORS_FILE, COURSE_FILE = "checkpoint.safetensors", "checkpoint.json"
BEST, AVERAGE = "best.", "average."
MOMENTS = {torch.optim.AdamW: ("exp_avg", "exp_avg_sq", "step"), torch.optim.SGD: ("momentum_buffer",)}


class StageState:
    """Saved as safetensors and JSON, together with the finished stages before it."""

    def __init__(self, module: nn.Module, optimizer: torch.optim.Optimizer, average: WeightAverage) -> None:
        self.module, self.optimizer, self.average = module, optimizer, average
        self.moments = MOMENTS[type(optimizer)]
        self.keep_as_best()

    def keep_as_best(self) -> None:
        self._best = self._copied()

    def take_best(self) -> None:
        self.module.load_state_dict(self._best)

    def save(self, folder: Path, course: VisionCourse, earlier: Sequence[tuple[VisionCourse, nn.Module]]) -> None:
        tensors = self._copied()
        tensors |= {BEST + name: tensor for name, tensor in self._best.items()}
        tensors |= {AVERAGE + name: tensor for name, tensor in self.average.weights.items()}
        names = {parameter: name for name, parameter in self.module.named_parameters()}
        for parameter, state in self.optimizer.state.items():
            tensors |= {f"{moment}.{names[parameter]}": state[moment] for moment in self.moments}
        for done, module in earlier:
            tensors |= {f"{done.stage}.{name}": tensor.detach().clone() for name, tensor in module.state_dict().items()}
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / TENSORS_FILE)
        courses = [asdict(one) for one in (*(done for done, _ in earlier), course)]
        said = {"courses": courses, "averaged_steps": self.average.steps, "optimizer": type(self.optimizer).__name__}
        write_json(folder / COURSE_FILE, said)

    def restore(self, folder: Path, stage: str) -> tuple[VisionCourse, bool]:
        """How far `stage` was when `folder` was written, and whether it was over."""
        document = json.loads((folder / COURSE_FILE).read_text(encoding="utf-8"))
        courses = {course["stage"]: VisionCourse(**course) for course in document["courses"]}
        if stage not in courses:
            return VisionCourse(stage), False
        tensors = load_file(folder / TENSORS_FILE, device=str(next(self.module.parameters()).device))
        over = stage != document["courses"][-1]["stage"]
        if over:
            self._best = {name: tensors[f"{stage}.{name}"] for name in self._best}
        else:
            self._refuse_other_optimizer(document.get("optimizer", torch.optim.AdamW.__name__), folder)
            self._take(tensors, document["averaged_steps"])
            courses[stage].resumed_after.append(courses[stage].epoch)
        return courses[stage], over

    def _refuse_other_optimizer(self, found: str, folder: Path) -> None:
        own = type(self.optimizer).__name__
        if found != own:
            raise InputError(
                Problem(file=str(folder / COURSE_FILE), field="optimizer", found=found, allowed=own,
                        problem="a checkpoint of another optimiser; set `optimizer`, or begin anew with --fresh")
            )  # fmt: skip

    def _take(self, tensors: Mapping[str, Tensor], averaged_steps: int) -> None:
        self.module.load_state_dict({name: tensors[name] for name in self._best})
        self._best = {name: tensors[BEST + name] for name in self._best}
        self.average.restore({name: tensors[AVERAGE + name] for name in self.average.weights}, averaged_steps)
        for name, parameter in self.module.named_parameters():
            moments = {moment: _laid_out_as(parameter, tensors[f"{moment}.{name}"]) for moment in self.moments}
            self.optimizer.state[parameter] = moments

    def _copied(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.module.state_dict().items()}


def _laid_out_as(parameter: Tensor, moment: Tensor) -> Tensor:
    """The fused optimiser goes through both in the order of memory, which files do not keep."""
    return torch.empty_like(parameter).copy_(moment) if moment.shape == parameter.shape else moment
