"""`heedful inspect`, `average`, `info` and `recipes`: what models are and what goes on in them."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml

from heedful.cli.fields import given_fields
from heedful.decoding.config import SearchConfig
from heedful.errors import HeedfulError
from heedful.recipes import paper
from heedful.recipes.config import FEW_TREES, Recipe, in_words
from heedful.recipes.named import DEFAULT, recipe, variations
from heedful.recipes.named import recipes as all_recipes


def inspect(arguments: argparse.Namespace) -> int:
    """A page, a picture, or the numbers of one sentence's attention."""
    from heedful.cli.translate import load
    from heedful.inspection.record import Inspection
    from heedful.inspection.save import check_suffix, save

    path = Path(arguments.output)
    check_suffix(path)
    if not arguments.sentence.strip():
        raise HeedfulError("the sentence is blank; give one to look at")
    translator = load(arguments, arguments.model)
    if arguments.target is not None:
        translation = translator.force(arguments.sentence, arguments.target)
    else:
        [translation] = translator.translate([arguments.sentence], **given_fields(arguments, SearchConfig))
    save(path, [Inspection.of(translation, name=Path(arguments.model).name, forced=arguments.target is not None)])
    if translation.attention is None:
        print("this model has no attention: all it knows of the source is one fixed-length state", file=sys.stderr)
    print(f"{translation.text}\n{path}")
    return 0


def average(arguments: argparse.Namespace) -> int:
    """A new model directory with the mean of several checkpoints."""
    from heedful import checkpoint

    for count in (arguments.last, arguments.best):
        if count is not None and count < 1:
            raise HeedfulError(f"cannot average {count} checkpoints; name 1 or more")
    last = None if arguments.best else arguments.last or 5
    mean = checkpoint.average(Path(arguments.model), Path(arguments.output), last, arguments.best)
    print(f"{arguments.output}: the mean of {', '.join(mean.averaged)}")
    return 0


def info(arguments: argparse.Namespace) -> int:
    """Architecture, parameters, data hashes, scores and versions."""
    from heedful import checkpoint

    directory = Path(arguments.model)
    loaded = checkpoint.load_model(directory)
    chosen = loaded.checkpoint
    facts: dict[str, Any] = {
        "model": str(directory),
        "recipe": loaded.config["recipe"],
        "languages": loaded.config["languages"],
        "parameters": sum(parameter.numel() for parameter in loaded.model.parameters()),
        "vocabulary": [loaded.tokenizers.source.vocab_size, loaded.tokenizers.target.vocab_size],
        "checkpoint": chosen.name,
        "step": chosen.step,
        "epoch": chosen.epoch,
        "averaged": list(chosen.averaged),
        "validation": {"bleu": chosen.bleu, "f1": chosen.f1, "perplexity": chosen.perplexity},
        "checkpoints": [each.name for each in checkpoint.all_checkpoints(directory)],
        "corpora": loaded.config["corpora"],
        "architecture": loaded.config["model"],
        "data": loaded.config["data"],
        "trees": loaded.config.get("trees"),
        "training": loaded.config["training"],
        "decoding": loaded.config["decoding"],
        "init_from": loaded.config["init_from"],
        "versions": loaded.config["versions"],
        "sha256": dict(chosen.files),
    }
    print(json.dumps(facts, ensure_ascii=False, indent=2) if arguments.json else _as_yaml(facts))
    return 0


def recipes(arguments: argparse.Namespace) -> int:
    """The list, or one recipe as the YAML that `--config` reads."""
    if arguments.name:
        print(_in_full(recipe(arguments.name)))
        return 0
    for each in all_recipes():
        default = "  (the default)" if each.name == DEFAULT else ""
        print(f"{each.name:14} {each.summary}{default}")
    print("\nTable 3's rows, variations of base (Section 6.2); `heedful reproduce table3` trains them all:")
    for each in variations():
        print(f"{each.name:14} {each.summary}")
    return 0


def _in_full(chosen: Recipe) -> str:
    lines = [f"# {chosen.summary}", f"recipe: {chosen.name}"]
    section = ""
    for name, field in chosen.fields():
        config = getattr(chosen, name)
        if name != section:
            section = name
            lines += ["", f"# {section}"]
        help_text = type(config).__pydantic_fields__[field.name].description
        if field.name in ("d_k", "d_v") and getattr(config, field.name) is None:
            help_text = f"{help_text} Here {config.d_model // config.heads}."
        entry = f"{field.name.replace('_', '-')}: {_scalar(getattr(config, field.name))}"
        origin = f"[{paper.section(chosen, field.name)}] " if paper.is_paper(chosen) else ""
        lines.append(f"{entry:36}  # {origin}{help_text}")
    if chosen.few:
        lines += ["", f"# for fewer than {FEW_TREES:,} trees: {in_words(chosen.few)}"]
    return "\n".join(lines + _departures(chosen))


def _departures(chosen: Recipe) -> list[str]:
    """Of a recipe of the paper's: what is otherwise than there, and why."""
    if not paper.is_paper(chosen):
        return []
    reasons = paper.departures(chosen)
    return ["", "# departures from the paper, and what it does not state", *map(_reason, reasons.items())]


def _reason(item: tuple[str, str]) -> str:
    return f"# {item[0].replace('_', '-')}: {item[1]}"


def _scalar(value: Any) -> str:
    return "none" if value is None else str(yaml.safe_dump(value)).split("\n")[0]


def _as_yaml(facts: dict[str, Any]) -> str:
    return str(yaml.safe_dump(facts, sort_keys=False, allow_unicode=True)).rstrip("\n")
