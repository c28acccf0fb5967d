"""The recipes of "Attention Is All You Need", the section behind each value, and every departure with its reason."""

from dataclasses import replace

from heedful.data.config import DataConfig
from heedful.data.treebank.config import TreeConfig
from heedful.decoding.config import SearchConfig
from heedful.model.config import TransformerConfig
from heedful.recipes import table3
from heedful.recipes.config import Recipe
from heedful.training.config import TrainingConfig

_DEVICE_TOKENS = 8192
"""Whatever the number of GPUs, an update has the paper's batch; this much of it at once fits into 16 GB, as the
paper's GPUs had."""
_base, _big = TransformerConfig(), TransformerConfig(d_model=1024, d_ff=4096, heads=16, dropout=0.3)
_en_de, _en_fr = DataConfig(vocab_size=37_000, batch_tokens=25_000), DataConfig(vocab_size=32_000, batch_tokens=25_000)
# ten minutes between checkpoints are 1,500 steps of 0.4 s, and 600 steps of 1 s
_base_training = TrainingConfig(
    max_steps=100_000, validate_every=1500, keep_last=5, average_last=5, device_tokens=_DEVICE_TOKENS
)
_big_training = TrainingConfig(
    max_steps=300_000, validate_every=600, keep_last=20, average_last=20, device_tokens=_DEVICE_TOKENS
)

RECIPES = (
    Recipe("base", "The paper's base model for WMT14 en-de (Section 5, Table 3).", _base, _en_de, _base_training),
    Recipe("big", "The paper's big model for WMT14 en-de (Section 5, Table 3).", _big, _en_de, _big_training),
    Recipe("base-en-fr", "The paper's base model for WMT14 en-fr (Sections 5, 6.1).", _base, _en_fr, _base_training),
    Recipe(
        "big-en-fr",
        "The paper's big model for WMT14 en-fr, with less dropout (Sections 5, 6.1).",
        replace(_big, dropout=0.1),
        _en_fr,
        _big_training,
    ),
    Recipe(
        "parse-paper",
        "The paper's parser, trained on WSJ alone (Section 6.3).",
        replace(_base, layers=4, d_model=1024, dropout=0.2, attention_dropout=0.2, share_embeddings="target"),
        DataConfig(vocab_size=16_000, vocabulary="separate", batch_tokens=25_000, max_length=512),
        _base_training,
        SearchConfig(beam_size=21, length_penalty=0.3, max_extra_tokens=300),
        TreeConfig(linearisation="top-down", leaves="tags"),
    ),
)


def _row(row: table3.Row) -> Recipe:
    """Base, changed, without averaging of checkpoints, and validated by the search that the table's BLEU is from."""
    base = RECIPES[0]
    in_model = {name: value for name, value in row.changes.items() if hasattr(base.model, name)}
    in_training = {name: value for name, value in row.changes.items() if name not in in_model}
    training = replace(base.training, average_last=1, validate_beam_size=base.decoding.beam_size)
    return replace(
        base,
        name=row.recipe,
        summary=row.change,
        model=replace(base.model, **in_model),
        training=replace(training, **in_training),
    )


VARIATIONS = tuple(_row(row) for row in table3.ROWS)
"""Table 3 (Section 6.2), row by row."""

_SECTIONS = {
    "layers": "3.1",
    "decoder_layers": "3.1",
    "d_model": "3.1, Table 3",
    "d_ff": "3.3, Table 3",
    "heads": "3.2.2, Table 3",
    "d_k": "3.2.2",
    "d_v": "3.2.2",
    "neighbourhood": "4",
    "dropout": "5.4, Table 3",
    "positions": "3.5",
    "norm": "3.1",
    "norm_position": "3.1",
    "skip": "3.1",
    "share_embeddings": "3.4",
    "tokenizer": "5.1",
    "vocab_size": "5.1",
    "vocabulary": "5.1",
    "batch_tokens": "5.1",
    "optimizer": "5.3",
    "beta1": "5.3",
    "beta2": "5.3",
    "adam_epsilon": "5.3",
    "schedule": "5.3",
    "lr": "5.3",
    "warmup_steps": "5.3",
    "label_smoothing": "5.4",
    "max_steps": "5.2",
    "validate_every": "6.1, 5.2",
    "keep_last": "6.1",
    "average_last": "6.1",
    "beam_size": "6.1",
    "length_penalty": "6.1",
    "length_penalty_kind": "6.1",
    "max_extra_tokens": "6.1",
}
_DEPARTURES = {
    "tokenizer": "SentencePiece's byte-pair encoding of the text as it stands, with bytes for rare characters, instead "
    "of a BPE of tokenised text: nothing has to be done before or after",
    "vocab_size": "as Section 5.1 says; the parameter counts of Table 3 fit some 41,200 entries instead, in every "
    "row but big's, so base has 63 million parameters here and not 65",
    "batch_tokens": "an upper end that counts padding, about a tenth where pairs are millions (simulated); one "
    "update's batch, whatever the number of GPUs",
    "max_length": "the paper says nothing of long pairs; these are skipped and counted",
    "short_first": "batches of alike lengths as in Section 5.1, composed and ordered anew in each epoch; the paper "
    "does not state the order",
    "dropout": "the paper's places and rate, which is rounded to a multiple of 2⁻¹⁶: one draw serves four or eight "
    "components",
    "label_smoothing": "ε/V on every class, the right one too, as in Szegedy et al. 2016, which the paper cites; it "
    "gives the value alone",
    "device_tokens": "the paper's eight GPUs had an eighth of a batch each; here a larger share is computed in parts, "
    "and their gradients added",
    "validate_every": "checkpoints by steps instead of by the clock: ten minutes of the paper's time for a step; one "
    "more is written at the end",
    "precision": "float32: the paper says no more than that Section 6.1 counts in single precision",
}
_UNSTATED = {
    "biases": "the paper states none in attention and none before the softmax; attention's four projections have one "
    "each here, as in torch.nn, and the last projection has none",
    "initial weights": "the paper does not state them; Xavier uniform for linear maps, N(0, 1/d_model) for embeddings, "
    "zero for biases",
    "BLEU": "sacreBLEU's of plain text, with its signature; the paper's is of tokenised text, and not comparable",
}
_EN_FR = {
    "tokenizer": "the paper has 32,000 word pieces; SentencePiece learns none, so these are as many pieces of "
    "byte-pair encoding, in one vocabulary for both languages",
    "vocab_size": "as Section 5.1 says",
}
_PARSING = {
    "heads": "not stated for this model; as in base, which Section 6.3 otherwise keeps, so d_k is 128 and not 64",
    "d_k": "not stated for this model: d_model / heads",
    "d_ff": "not stated for this model; as in base",
    "dropout": "chosen on section 22, not stated; 0.2 as in transformer_parsing_base of the authors' tensor2tensor",
    "attention_dropout": "chosen on section 22, not stated; as dropout",
    "lr": "chosen on section 22, not stated; base's schedule with factor 1",
    "max_steps": "not stated; base's",
    "average_last": "not stated for the parser; base's",
    "vocab_size": "of the words, 16,000 for WSJ alone; pass --vocab-size 32000 for the semi-supervised setting",
    "vocabulary": "separate: a tree's symbols are whole, some hundred of them; the paper does not say what its own "
    "vocabulary holds",
    "share_embeddings": "target: with vocabularies of their own, source and target share nothing",
    "linearisation": "not stated; depth-first as in Vinyals et al. 2015, which the paper compares with",
    "leaves": "not stated; parts of speech are kept, as in tensor2tensor's wsj_parsing, and words are not predicted",
    "constrained decoding": "brackets match and every word is there, always; the paper does not say what was done with "
    "broken output",
    "treebank": "no WSJ comes along: LDC99T42 needs a licence, and a score on other trees is not comparable",
}
_PARSING_SECTIONS = dict.fromkeys(_PARSING, "6.3 does not say") | dict.fromkeys(
    ("layers", "d_model", "vocab_size", "beam_size", "length_penalty", "max_extra_tokens"), "6.3"
)
SUSTAINED = 9.5e12
"""FLOPs per second that the paper assumes of a P100 (Section 6.1, footnote 5)."""
_HOURS = {"base": 12.0, "big": 84.0}
"""On eight P100 (Section 5.2)."""


def is_paper(recipe: Recipe) -> bool:
    """Whether this is a recipe of the paper's."""
    return any(recipe.name == own.name for own in (*RECIPES, *VARIATIONS))


def section(recipe: Recipe, field: str) -> str:
    """Where in the paper a field's value stands; nowhere is said too."""
    if field == "dropout" and recipe.name == "big-en-fr":
        return "Section 6.1"
    if field in ("keep_last", "average_last") and recipe in VARIATIONS:  # "no checkpoint averaging"
        return "Section 6.2"
    sections = _SECTIONS | _PARSING_SECTIONS if recipe.trees else _SECTIONS
    return f"Section {sections[field]}" if field in sections else "not in the paper"


def hours(recipe: Recipe) -> float | None:
    """How long this training took in the paper; None for what is not its model, batch and steps."""
    for own in RECIPES:
        same = (own.name, own.model) == (recipe.name, recipe.model)
        if same and own.data.batch_tokens * (own.training.max_steps or 0) == recipe.data.batch_tokens * (
            recipe.training.max_steps or 0
        ):
            return _HOURS.get(own.name)
    return None


def claimed_flops(hours: float, gpus: int = 8, sustained: float = SUSTAINED) -> float:
    """The paper's convention: time · GPUs · the speed it assumes of one (Section 6.1); not a count of operations."""
    return 3600 * hours * gpus * sustained


def departures(recipe: Recipe) -> dict[str, str]:
    """What is not as the paper has it, or not stated there, with the reason; fields first, then the rest."""
    if recipe.trees:
        return _DEPARTURES | _PARSING | {name: _UNSTATED[name] for name in ("biases", "initial weights")}
    return _DEPARTURES | (_EN_FR if recipe.name.endswith("en-fr") else {}) | _UNSTATED
