"""A heedful model as a CTranslate2 model.

    python -m benchmarks.peers.ctranslate2_convert --model DIR --output DIR

Sinusoids are written out, since CTranslate2's own are not interleaved.
"""

import argparse
from pathlib import Path

import numpy as np
import sentencepiece
from ctranslate2.specs import LayerSpec, TransformerDecoderSpec, TransformerEncoderSpec, TransformerSpec
from numpy.typing import NDArray
from safetensors.numpy import load_file

from benchmarks.peers.shape import BOS, EOS, UNK, Shape, weights_file

MAX_POSITIONS = 1024
Array = NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="heedful model directory")
    parser.add_argument("--output", type=Path, required=True, help="directory for CTranslate2's files")
    arguments = parser.parse_args()
    convert(arguments.model, arguments.output)


def convert(directory: Path, output: Path) -> None:
    """Writes the model of `directory`, all embeddings tied, in float32."""
    shape, weights = Shape.of(directory), load_file(weights_file(directory))
    options = {"pre_norm": shape.pre_norm}
    if shape.rotary:  # of all components, the first half turned with the second
        options |= {"rotary_dim": 0, "rotary_interleave": False}
    spec = TransformerSpec(
        TransformerEncoderSpec(shape.layers, shape.heads, **options),
        TransformerDecoderSpec(shape.decoder_layers, shape.heads, **options),
    )
    embedding = weights["source_input.tokens.weight"]
    spec.encoder.scale_embeddings = spec.decoder.scale_embeddings = True
    spec.encoder.embeddings[0].weight = spec.decoder.embeddings.weight = embedding
    spec.decoder.projection.weight = embedding
    if not shape.rotary:
        table = sinusoids(MAX_POSITIONS, shape.d_model)
        spec.encoder.position_encodings.encodings = spec.decoder.position_encodings.encodings = table
    for side in ("encoder", "decoder"):
        if shape.pre_norm:
            final = getattr(spec, side).layer_norm
            final.gamma, final.beta = weights[f"{side}.final_norm.weight"], weights[f"{side}.final_norm.bias"]
        for number, layer in enumerate(getattr(spec, side).layer):
            start = f"{side}.layers.{number}."
            _layer(layer, {name.removeprefix(start): x for name, x in weights.items() if name.startswith(start)})
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(directory / "source.model"))
    vocabulary = [pieces.id_to_piece(number) for number in range(pieces.vocab_size())]
    spec.register_source_vocabulary(vocabulary)
    spec.register_target_vocabulary(vocabulary)
    spec.config.bos_token, spec.config.eos_token, spec.config.unk_token = (vocabulary[i] for i in (BOS, EOS, UNK))
    spec.config.decoder_start_token = vocabulary[BOS]
    spec.config.add_source_bos, spec.config.add_source_eos = False, True
    spec.config.layer_norm_epsilon = 1e-5
    spec.validate()
    spec.optimize()  # a matrix that is shared is written once
    output.mkdir(parents=True, exist_ok=True)
    spec.save(str(output))


def sinusoids(positions: int, d_model: int) -> Array:
    """Section 3.5, sine and cosine interleaved."""
    angle = np.arange(positions)[:, None] / 10_000.0 ** (np.arange(0, d_model, 2) / d_model)
    return np.stack((np.sin(angle), np.cos(angle)), axis=-1).reshape(positions, d_model).astype(np.float32)


def _layer(layer: LayerSpec, weights: dict[str, Array]) -> None:
    def linear(spec: LayerSpec, name: str, part: slice = slice(None)) -> None:
        spec.weight, spec.bias = weights[f"{name}weight"][part], weights[f"{name}bias"][part]

    def norm(spec: LayerSpec, name: str) -> None:
        spec.gamma, spec.beta = weights[f"{name}_residual.norm.weight"], weights[f"{name}_residual.norm.bias"]

    linear(layer.self_attention.linear[0], "self_attention.")
    linear(layer.self_attention.linear[1], "self_attention.output.")
    norm(layer.self_attention.layer_norm, "self_attention")
    if "cross_attention.weight" in weights:
        # queries come from another input than keys and values: two products
        width = len(weights["cross_attention.weight"]) // 3
        linear(layer.attention.linear[0], "cross_attention.", slice(0, width))
        linear(layer.attention.linear[1], "cross_attention.", slice(width, None))
        linear(layer.attention.linear[2], "cross_attention.output.")
        norm(layer.attention.layer_norm, "cross_attention")
    linear(layer.ffn.linear_0, "feed_forward.inner.")
    linear(layer.ffn.linear_1, "feed_forward.outer.")
    norm(layer.ffn.layer_norm, "feed_forward")


if __name__ == "__main__":
    main()
