from __future__ import annotations

import torch

from training.models.repetition import Repetition


def test_gains_are_the_sum_over_occurrences_so_far() -> None:
    torch.manual_seed(0)
    repetition = Repetition(4)
    torch.nn.init.normal_(repetition.by_age.weight)
    x_BLD, tokens_BL = torch.randn(1, 5, 4), torch.tensor([[7, 3, 7, 9, 3]])
    gains = repetition(x_BLD, tokens_BL)
    by_age_LA = repetition.by_age(x_BLD)[0]
    for query in range(5):
        seen = tokens_BL[0, : query + 1].tolist()
        expected = {
            item: sum(by_age_LA[query, query - place].item() for place, other in enumerate(seen) if other == item)
            for item in seen
        }
        marked = gains.newest_BQL[0, query].nonzero()[:, 0].tolist()
        assert marked == sorted(max(p for p, other in enumerate(seen) if other == item) for item in expected)
        for place in marked:
            assert torch.isclose(gains.gain_BQL[0, query, place], torch.tensor(expected[seen[place]]), atol=1e-5)
    end_BL = repetition.at_end(x_BLD[:, 2], tokens_BL, torch.tensor([3]))
    assert torch.allclose(end_BL[0, :3], by_age_LA[2, [2, 1, 0]])
    assert end_BL[0, 3:].tolist() == [0.0, 0.0]
