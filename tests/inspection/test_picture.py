import io
import itertools
import logging
import sys
import warnings

import matplotlib.axes
import matplotlib.image
import numpy as np
import pytest

from heedful.errors import HeedfulError
from heedful.inspection.picture import pooled
from heedful.inspection.save import save


@pytest.fixture
def drawn(monkeypatch):
    """Every array that is painted, and the weight that its darkest colour stands for."""
    arrays, tops = [], []
    original = matplotlib.axes.Axes.imshow

    def imshow(axis, array, **options):
        assert options["vmin"] == 0
        arrays.append(np.asarray(array))
        tops.append(options["vmax"])
        return original(axis, array, **options)

    monkeypatch.setattr(matplotlib.axes.Axes, "imshow", imshow)
    return arrays, tops


def test_draws_every_head_and_the_mean(make, tmp_path, drawn):
    one = make(heads=(2, 3))
    save(tmp_path / "one.png", [one])
    arrays, tops = drawn
    kinds = [[head for layer in one.layers(kind) for head in layer] for kind in ("cross", "encoder", "decoder")]
    for array, expected in zip(arrays, [*itertools.chain(*kinds), one.mean("cross")], strict=True):
        np.testing.assert_array_equal(array, expected)
    # The heads of one kind share a scale, so that they compare; the mean has its own.
    scales = [np.max(heads) for heads in kinds for _ in heads]
    np.testing.assert_array_equal(tops, [*scales, one.mean("cross").max()])
    height, width, _ = matplotlib.image.imread(tmp_path / "one.png").shape
    assert height > 500
    assert width > 500


def test_recurrent_attention_is_one_map_and_none_is_no_map(make, tmp_path, drawn):
    save(tmp_path / "two.png", [make(attention=None), make(kinds=("cross",), heads=(1,))])
    arrays, _ = drawn
    assert len(arrays) == 1
    save(tmp_path / "none.png", [make(attention=None)])
    assert len(arrays) == 1
    assert matplotlib.image.imread(io.BytesIO((tmp_path / "none.png").read_bytes())).min() < 0.3  # it says so in ink


def test_pooling_keeps_every_peak():
    weights = np.random.default_rng(0).random((23, 7), dtype=np.float32)
    small = pooled(weights, 5)
    assert small.shape == (5, 5)
    for row in range(23):
        for column in range(7):
            assert weights[row, column] <= small[row * 5 // 23, column * 5 // 7]
    assert set(small.ravel()) <= set(weights.ravel())
    np.testing.assert_array_equal(pooled(weights, 23), weights)


def test_any_script_and_any_sign_can_be_drawn(make, tmp_path, caplog):
    tokens = ["▁$x^{", "$", "월", "مارس", "ि", "<0xE2>", "</s>"]
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        save(tmp_path / "one.png", [make(tokens, source="$x^{$ 월\r\udce9 مارس\0", name="a_b$")])
        save(tmp_path / "odd.png", [make(tokens=["\U0010fffd", "</s>"])])
    messages = [record.getMessage() for record in caplog.records if record.name == "heedful"]
    assert any("odd.png: no installed font has \U0010fffd" in message for message in messages)
    assert len(caplog.records) == len(messages)


def test_without_matplotlib_the_remedy_is_named(make, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    with pytest.raises(HeedfulError, match=r"pip install 'heedful\[plot\]'"):
        save(tmp_path / "one.png", [make()])
