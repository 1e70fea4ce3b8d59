"""What the detector is taught: the right boxes cost least, and a step of descent goes towards them."""

from __future__ import annotations

import torch

from training.jobs.augmentation import SceneAugmentation
from training.jobs.detector_loss import Cells, Truth, assigned, detector_loss, paired_overlaps
from training.jobs.vision_config import AugmentationConfig
from training.models.detector_network import cells_of

BOX = torch.tensor([[0.2, 0.2, 0.6, 0.5]])


def cells() -> Cells:
    centres, sizes = cells_of(64, (8, 16, 32))
    return Cells(centres_A2=centres, sizes_A=sizes)


def answer(box: torch.Tensor, logit: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Every cell near the middle of BOX is sure of `box`, all others of nothing."""
    near = (cells().centres_A2 - torch.tensor([0.4, 0.35])).abs().amax(dim=1) < 0.1
    scores = torch.where(near, logit, -8.0)[None]
    return scores, box.expand(1, len(near), 4), torch.zeros(1, len(near), 2)


def loss(box: torch.Tensor, logit: float = 4.0) -> float:
    truth = Truth(boxes_G4=BOX, labels_G=torch.tensor([1]))
    return float(detector_loss(answer(box, logit), [truth], cells()))


def test_the_right_box_costs_least() -> None:
    assert loss(BOX) < loss(BOX + 0.05) < loss(BOX + 0.2)
    assert loss(BOX, logit=4.0) < loss(BOX, logit=-4.0)


def test_a_photo_without_articles_wants_no_scores() -> None:
    nothing = Truth(boxes_G4=torch.zeros(0, 4), labels_G=torch.zeros(0, dtype=torch.long))
    quiet, loud = (float(detector_loss(answer(BOX, logit), [nothing], cells())) for logit in (-8.0, 4.0))
    assert 0.0 <= quiet < loud


def test_every_article_gets_a_cell_of_its_own() -> None:
    boxes = torch.tensor([[0.0, 0.0, 0.2, 0.2], [0.7, 0.7, 1.0, 1.0]])
    truth = Truth(boxes_G4=boxes, labels_G=torch.tensor([0, 1]))
    count = len(cells().sizes_A)
    places, owners = assigned(torch.zeros(count), torch.rand(count, 4).sort(dim=1).values, truth, cells())
    assert set(owners.tolist()) == {0, 1}
    assert len(set(places.tolist())) == len(places)


def test_overlap_by_hand() -> None:
    overlap, generalised = paired_overlaps(torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[1.0, 0, 3, 2]]))
    assert overlap.tolist() == torch.tensor([2 / 6]).tolist()
    assert float(generalised) == float(overlap)
    apart = paired_overlaps(torch.tensor([[0.0, 0, 1, 1]]), torch.tensor([[2.0, 0, 3, 1]]))
    assert (float(apart[0]), float(apart[1])) == (0.0, float(torch.tensor(-1 / 3)))


def test_boxes_move_with_what_they_hold() -> None:
    """A bright rectangle is where its box says, however the scene was changed."""
    augmentation = SceneAugmentation(AugmentationConfig(cutout=0.0, light=0.0, tint=0.0))
    x_BCHW, boxes = torch.zeros(8, 3, 64, 64), [torch.tensor([[0.25, 0.375, 0.5, 0.75]])] * 8
    x_BCHW[:, :, 24:48, 16:32] = 4.0
    seen, moved, kept = augmentation.with_boxes(x_BCHW, boxes, torch.Generator().manual_seed(0))
    for picture, box_N4, kept_N in zip(seen, moved, kept, strict=True):
        assert kept_N.all()
        rows, columns = (picture[0] > 2).nonzero(as_tuple=True)
        bright = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / 64
        torch.testing.assert_close(box_N4[0], bright, atol=0.03, rtol=0)
