"""From the three generations of models to the drawing: what is drawn is what the model computed."""

import base64
import json
import re
import zlib

import numpy as np
import pytest
import torch

from heedful.data.config import DataConfig
from heedful.data.tokenizer import Tokenizer, Tokenizers
from heedful.decoding.translator import Translator
from heedful.inspection.page import draw, page
from heedful.inspection.record import Inspection
from heedful.inspection.save import save
from heedful.model.build import build_model
from heedful.model.config import RecurrentConfig, TransformerConfig

CONFIGS = {
    "rnn": RecurrentConfig(d_model=22),
    "rnn-attention": RecurrentConfig(d_model=22, attention="additive"),
    "transformer": TransformerConfig(layers=2, decoder_layers=3, d_model=20, d_ff=11, heads=5),
    "rotary": TransformerConfig(layers=1, decoder_layers=2, d_model=20, d_ff=11, heads=5, positions="rotary"),
}


@pytest.fixture(scope="module")
def tokenizers():
    lines = ["A brown dog is running fast.", "Ein brauner Hund rennt schnell.", "갈색 개가 달린다."]
    tokenizer = Tokenizer.train(lines, DataConfig(vocab_size=300))
    return Tokenizers(tokenizer, tokenizer)


def translator(name, tokenizers):
    torch.manual_seed(0)
    size = tokenizers.source.vocab_size
    return Translator([build_model(CONFIGS[name], size, size).eval()], tokenizers, draw=draw)


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("rnn", {}),
        ("rnn-attention", {"cross": (1, 1)}),
        ("transformer", {"cross": (3, 5), "encoder": (2, 5), "decoder": (3, 5)}),
        ("rotary", {"cross": (2, 5), "encoder": (1, 5), "decoder": (2, 5)}),
    ],
)
def test_page_and_npz_hold_what_the_model_computed(name, shapes, tokenizers, tmp_path):
    model = translator(name, tokenizers)
    translation = model.force("A dog is fast.", "Ein Hund rennt.")
    inspection = Inspection.of(translation, name=name, forced=True)
    assert inspection.tokens[-1] == inspection.source_tokens[-1] == "</s>"
    assert inspection.kinds() == list(shapes)

    source = torch.tensor([[*tokenizers.source.encode("A dog is fast."), 3]])
    target = torch.tensor([[2, *tokenizers.target.encode("Ein Hund rennt.")]])
    with torch.no_grad():
        computed = model.models[0].attention(source, source > 0, target, target > 0)
    [drawn] = json.loads(re.findall(r'id="record">(.*?)</script', page([inspection]), re.DOTALL)[0])["inspections"]
    save(tmp_path / "one.npz", [inspection])
    with np.load(tmp_path / "one.npz") as arrays:
        for kind, (layers, heads) in shapes.items():
            queries, keys = inspection.axes(kind)
            expected = np.stack([layer[0].numpy() for layer in getattr(computed, kind)])
            assert expected.shape == (layers, heads, len(queries), len(keys))
            np.testing.assert_allclose(arrays[kind], expected, atol=1e-6)
            np.testing.assert_allclose(arrays[kind].sum(-1), 1, atol=1e-5)
            for block, layer in zip(drawn["attention"][kind], arrays[kind], strict=True):
                values = np.frombuffer(zlib.decompress(base64.b64decode(block["data"])), "<f4")
                np.testing.assert_array_equal(values.reshape(block["shape"]), layer)


def test_a_translation_shows_itself_in_a_notebook(tokenizers):
    translated, blank = translator("transformer", tokenizers).translate(["A dog.", " "])
    assert translated._repr_html_().startswith("<iframe")
    assert blank._repr_html_() == "<p></p>"
