from types import SimpleNamespace

import numpy as np
import pytest

from heedful.errors import HeedfulError
from heedful.inspection.record import Inspection


def test_takes_what_a_translation_offers(make):
    one = make()
    translation = SimpleNamespace(
        source=one.source,
        text=one.text,
        score=one.score,
        source_tokens=tuple(one.source_tokens),
        tokens=one.tokens,
        attention=one.attention,
    )
    taken = Inspection.of(translation, name="mine", forced=True)
    assert (taken.name, taken.forced, taken.source_tokens) == ("mine", True, one.source_tokens)
    assert taken.layers("cross") is one.layers("cross")


def test_axes_name_the_tokens_of_each_row_and_column(make):
    one = make(["▁a", "▁b", "</s>"], ["▁x", "</s>"])
    assert one.axes("encoder") == (["▁a", "▁b", "</s>"], ["▁a", "▁b", "</s>"])
    assert one.axes("cross") == (["▁x", "</s>"], ["▁a", "▁b", "</s>"])
    # The step that writes a token reads what stands before it.
    assert one.axes("decoder") == (["▁x", "</s>"], ["<s>", "▁x"])


def test_mean_gives_every_head_equal_weight_where_layers_differ(make):
    one = make(heads=(1, 5))
    first, second = one.layers("cross")
    np.testing.assert_allclose(one.mean("cross"), (first.sum(0) + second.sum(0)) / 6, rtol=1e-6)


def test_kinds_that_a_model_lacks(make):
    recurrent = make(kinds=("cross",), heads=(1,))
    assert recurrent.kinds() == ["cross"]
    assert list(recurrent.layers("encoder")) == []
    assert make(attention=None).kinds() == []


@pytest.mark.parametrize(
    "cross",
    [np.ones((3, 7, 5), np.float32), np.ones((3, 5, 6), np.float32), np.ones((3, 5, 7), np.float64)],
    ids=["transposed", "one token short", "float64"],
)
def test_weights_must_fit_the_tokens(make, cross):
    good = make().layers("cross")[0]
    with pytest.raises(ValueError, match="cross attention, layer 2"):
        make(attention={"cross": [good, cross], "encoder": None, "decoder": None})


def test_weights_that_are_no_numbers_are_refused(make):
    broken = make().layers("cross")[0].copy()
    broken[1, 2, 3] = np.nan
    with pytest.raises(HeedfulError, match="cross attention, layer 1 of tiny is not finite"):
        make(attention={"cross": [broken], "encoder": None, "decoder": None})


def test_an_empty_sentence_has_nothing_to_inspect(make):
    with pytest.raises(HeedfulError, match="empty"):
        make([], [], attention=None)
