import json
import os

import numpy as np
import pytest

from heedful.errors import HeedfulError
from heedful.inspection.save import check_suffix, save


def test_npz_holds_every_weight_and_both_token_lists(make, tmp_path):
    one = make()
    save(tmp_path / "one.npz", [one])
    with np.load(tmp_path / "one.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {"encoder", "decoder", "cross", "source_tokens", "tokens"}
        assert arrays["cross"].shape == (2, 3, 5, 7)
        for kind in ("encoder", "decoder", "cross"):
            assert arrays[kind].dtype == np.float32
            np.testing.assert_array_equal(arrays[kind], np.stack(one.layers(kind)))
        assert arrays["source_tokens"].tolist() == one.source_tokens
        assert arrays["tokens"].tolist() == one.tokens


def test_npz_leaves_out_what_a_model_lacks(make, tmp_path):
    save(tmp_path / "rnn.npz", [make(kinds=("cross",), heads=(1,))])
    with np.load(tmp_path / "rnn.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {"cross", "source_tokens", "tokens"}
    save(tmp_path / "none.npz", [make(attention=None)])
    with np.load(tmp_path / "none.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {"source_tokens", "tokens"}


def test_npz_refuses_layers_of_unequal_heads_and_names_them(make, tmp_path):
    with pytest.raises(HeedfulError, match=r"2 heads in layer 1 and 3 in layer 2.*\.json"):
        save(tmp_path / "ragged.npz", [make(heads=(2, 3))])
    assert list(tmp_path.iterdir()) == []


def test_json_gives_back_every_float32_exactly(make, tmp_path):
    one = make(heads=(2, 3), text="“\u2028”\n</s>")
    save(tmp_path / "one.json", [one])
    record = json.loads((tmp_path / "one.json").read_bytes())
    assert (record["schema"], record["version"]) == ("heedful-inspection", 1)
    assert (record["model"], record["source"], record["text"]) == ("tiny", one.source, one.text)
    assert (record["score"], record["forced"]) == (-0.25, False)
    assert (record["source_tokens"], record["tokens"]) == (one.source_tokens, one.tokens)
    assert record["decoder_inputs"] == ["<s>", *one.tokens[:-1]]
    for kind in ("encoder", "decoder", "cross"):
        assert [len(layer) for layer in record["attention"][kind]] == [2, 3]
        for read, layer in zip(record["attention"][kind], one.layers(kind), strict=True):
            assert read == layer.tolist()  # as doubles, so to the last bit


def test_json_says_null_for_what_a_model_lacks(make, tmp_path):
    save(tmp_path / "rnn.json", [make(kinds=("cross",), heads=(1,))])
    attention = json.loads((tmp_path / "rnn.json").read_bytes())["attention"]
    assert attention["encoder"] is None
    assert attention["decoder"] is None
    save(tmp_path / "none.json", [make(attention=None)])
    assert json.loads((tmp_path / "none.json").read_bytes())["attention"] is None


def test_json_keeps_bytes_that_were_not_utf8(make, tmp_path):
    source = os.fsdecode(b"caf\xe9")
    save(tmp_path / "one.json", [make(["▁" + source, "</s>"], source=source, text=source)])
    assert json.loads((tmp_path / "one.json").read_bytes())["text"] == source


@pytest.mark.parametrize("name", ["a.pdf", "a", "html"])
def test_other_suffixes_are_refused_before_the_work(name, make, tmp_path):
    for refuse in (check_suffix, lambda path: save(path, [make()])):
        with pytest.raises(HeedfulError, match=r"\.html, \.png, \.npz or \.json"):
            refuse(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_numbers_are_of_one_inspection(suffix, make, tmp_path):
    with pytest.raises(HeedfulError, match="one inspection, not 2"):
        save(tmp_path / f"two{suffix}", [make(), make()])


def test_a_file_that_cannot_be_written_is_a_plain_error(make, tmp_path):
    (tmp_path / "one.html").mkdir()
    with pytest.raises(HeedfulError, match="cannot write"):
        save(tmp_path / "one.html", [make()])
    assert list(tmp_path.iterdir()) == [tmp_path / "one.html"]
