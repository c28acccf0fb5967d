"""`heedful evaluate` and `compare`."""

import argparse
import json
import math
from dataclasses import asdict
from pathlib import Path

from heedful.cli.fields import given_fields
from heedful.cli.translate import load, read_pairs, write_lines
from heedful.decoding.config import SearchConfig


def evaluate(arguments: argparse.Namespace) -> int:
    """Every score of one model, with what is needed to repeat it."""
    translator = load(arguments, arguments.model)
    corpus, pairs = read_pairs(arguments.test, translator)
    from heedful.evaluation.likelihood import Likelihood, count_words
    from heedful.evaluation.report import Provenance, evaluate_strings, render

    options = {**given_fields(arguments, SearchConfig), "precision": arguments.precision}
    sources, references = [source for source, _ in pairs], [target for _, target in pairs]
    hypotheses = [translation.text for translation in translator.translate(sources, **options)]
    scores = translator.score_pairs(pairs)
    search = translator.search_with(**options)
    loaded = translator.loaded[0]
    report = evaluate_strings(
        sources,
        hypotheses,
        references,
        corpus.source_lang,
        corpus.target_lang,
        Likelihood(math.fsum(scores.log_probs), sum(scores.tokens), count_words(references)),
        Provenance(
            test=" ".join(str(path) for path in corpus.paths),
            model=str(arguments.model),
            checkpoint=loaded.checkpoint.name,
            recipe=loaded.config["recipe"],
            beam_size=search.beam_size,
            length_penalty=search.length_penalty,
            length_penalty_kind=search.length_penalty_kind,
            precision=translator.precision_of(search),
            data_hash=corpus.digest(),
            seed=loaded.config["training"]["seed"],
            versions=loaded.config["versions"],
        ),
    )
    if arguments.output:
        write_lines(Path(arguments.output), hypotheses)
    print(json.dumps(asdict(report), ensure_ascii=False, indent=2) if arguments.json else render(report))
    return 0


def compare(arguments: argparse.Namespace) -> int:
    """Paired tests, by length, and the sentences that differ most."""
    translators = [load(arguments, model) for model in (arguments.model_a, arguments.model_b)]
    corpus, pairs = read_pairs(arguments.test, translators[0])
    sources, references = [source for source, _ in pairs], [target for _, target in pairs]
    options = {**given_fields(arguments, SearchConfig), "precision": arguments.precision}
    systems = [
        [translation.text for translation in translator.translate(sources, **options)] for translator in translators
    ]
    from heedful.evaluation.compare import compare as compare_strings
    from heedful.evaluation.compare import render

    a, b = systems
    names = str(arguments.model_a), str(arguments.model_b)
    comparison = compare_strings(sources, references, a, b, corpus.source_lang, corpus.target_lang, systems=names)
    print(json.dumps(asdict(comparison), ensure_ascii=False, indent=2) if arguments.json else render(comparison))
    return 0
