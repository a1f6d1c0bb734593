from __future__ import annotations

import pytest
import torch

from diffuprompt.engine.seeds import torch_stream
from diffuprompt.generators.label_space import Confusion, union


def hardest(probabilities, labels, negatives):
    confusion = Confusion(probabilities.shape[1])
    for rows, own in zip(probabilities.split(2), labels.split(2), strict=True):
        confusion.add(rows, own)
    return confusion.hardest(negatives)


def test_hardest_are_those_that_images_of_the_label_are_taken_for():
    probabilities = torch.tensor(
        [
            [0.5, 0.1, 0.4, 0.0],
            [0.5, 0.2, 0.3, 0.0],  # label 0 looks like 2, then 1
            [0.4, 0.1, 0.1, 0.4],  # label 1 like 0 and 3 equally: the lower index
            [0.0, 0.0, 0.3, 0.7],  # label 3 like 2
        ]
    )
    labels = torch.tensor([0, 0, 1, 3])
    assert hardest(probabilities, labels, 1).tolist() == [[0, 2], [0, 1], [0, 2], [2, 3]]
    assert hardest(probabilities, labels, 2)[0].tolist() == [0, 1, 2]
    flipped = hardest(probabilities.flip(0), labels.flip(0), 1)
    assert torch.equal(flipped, hardest(probabilities, labels, 1)), "no order of images"


@pytest.mark.parametrize("others", [0, 4, 9])
def test_more_classes_than_there_are_is_a_mistake(others):
    with pytest.raises(ValueError, match="1 to 3 other classes"):
        hardest(torch.ones(3, 4), torch.arange(3), others)


def test_union_holds_the_batch_and_fills_up():
    labels = torch.tensor([7, 2, 7])
    found = union(labels, 10, 5, torch_stream(0, "a"))
    assert found.tolist() == sorted(set(found.tolist()))
    assert len(found) == 5
    assert {2, 7} <= set(found.tolist())
    assert torch.equal(found, union(labels, 10, 5, torch_stream(0, "a")))
    assert union(labels, 10, 1, torch_stream(0, "a")).tolist() == [2, 7]
    assert union(labels, 10, 10, torch_stream(0, "a")).tolist() == list(range(10))
