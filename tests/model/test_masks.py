import torch

from heedful.model.masks import causal_mask, masked_scores, masked_softmax, over_heads, padding_mask


def test_padding_mask_is_true_on_real_positions() -> None:
    assert padding_mask(torch.tensor([2, 0, 3])).tolist() == [
        [True, True, False],
        [False, False, False],
        [True, True, True],
    ]
    assert padding_mask(torch.tensor([2, 3]), width=5).sum(1).tolist() == [2, 3]


def test_causal_mask_shows_the_past_and_the_present() -> None:
    assert causal_mask(3).tolist() == [[True, False, False], [True, True, False], [True, True, True]]


def test_masks_combine_by_and() -> None:
    both = over_heads(padding_mask(torch.tensor([1, 3]))) & causal_mask(3)
    assert both.shape == (2, 1, 3, 3)
    assert both[0, 0].tolist() == [[True, False, False]] * 3
    assert torch.equal(both[1, 0], causal_mask(3))


def test_masked_softmax_is_the_softmax_over_what_is_left() -> None:
    scores = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], requires_grad=True)
    mask = torch.tensor([[True, False, True], [False, False, False]])
    weights = masked_softmax(scores, mask)
    torch.testing.assert_close(weights[0, [0, 2]], scores[0, [0, 2]].softmax(0))
    assert weights[0, 1] == 0
    assert weights[1].tolist() == [0, 0, 0]
    weights.square().sum().backward()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()
    assert scores.grad[1].tolist() == [0, 0, 0]
    assert scores.grad[0, 1] == 0


def test_masked_scores_are_the_scores_of_what_is_left() -> None:
    scores = torch.tensor([[1.0, 2.0, -3.0], [4.0, 5.0, 6.0]], requires_grad=True)
    mask = torch.tensor([[True, False, True], [False, False, False]])
    weights = masked_scores(scores, mask)
    assert weights.tolist() == [[1, 0, -3], [0, 0, 0]]
    assert torch.equal(masked_scores(scores, None), scores)
    weights.sum().backward()
    assert scores.grad is not None
    assert scores.grad.tolist() == [[1, 0, 1], [0, 0, 0]]
