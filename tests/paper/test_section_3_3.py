"""Section 3.3: position-wise feed-forward networks."""

import torch
import torch.nn.functional as F

from heedful.model.build import build_model
from heedful.model.config import TransformerConfig
from heedful.model.feed_forward import FeedForward


def test_equation_2_at_every_position_alike() -> None:
    torch.manual_seed(0)
    layer = FeedForward(11, 23)
    torch.nn.init.normal_(layer.inner.bias)
    torch.nn.init.normal_(layer.outer.bias)
    x = torch.randn(3, 5, 11)
    y = layer(x)
    W_1, b_1, W_2, b_2 = layer.inner.weight.T, layer.inner.bias, layer.outer.weight.T, layer.outer.bias
    for i in range(3):
        for t in range(5):
            torch.testing.assert_close(y[i, t], (x[i, t] @ W_1 + b_1).clamp(min=0) @ W_2 + b_2)


def test_layers_have_parameters_of_their_own() -> None:
    model = build_model(TransformerConfig(layers=3, d_model=14, d_ff=23, heads=2), 37, 37)
    networks = [m for m in model.modules() if isinstance(m, FeedForward)]
    assert len({id(n.inner.weight) for n in networks}) == len(networks) == 6


def test_base_has_the_papers_widths() -> None:
    config = TransformerConfig()
    assert (config.layers, config.d_model, config.d_ff, config.heads) == (6, 512, 2048, 8)
    assert (config.dropout, config.attention_dropout) == (0.1, 0.0)
    assert config.d_model // config.heads == 64  # d_k = d_v


def test_it_is_two_convolutions_with_kernel_size_one() -> None:
    """The section's other description of the same thing."""
    torch.manual_seed(0)
    layer = FeedForward(11, 23)
    x = torch.randn(3, 5, 11)
    inner = F.conv1d(x.transpose(1, 2), layer.inner.weight.unsqueeze(-1), layer.inner.bias).relu()
    outer = F.conv1d(inner, layer.outer.weight.unsqueeze(-1), layer.outer.bias)
    torch.testing.assert_close(layer(x), outer.transpose(1, 2))
