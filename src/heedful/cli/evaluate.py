"""`heedful evaluate` and `compare`."""

import argparse
import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from heedful.cli.fields import given_fields
from heedful.cli.translate import keep_apart, load, read_pairs, write_lines
from heedful.cli.trees import load_parser
from heedful.data.corpus import Corpus
from heedful.data.treebank.cleaning import clean, rooted
from heedful.data.treebank.corpus import TreeCorpus, pair_of
from heedful.data.treebank.linearisation import Linearisation
from heedful.data.treebank.reading import read_trees
from heedful.data.treebank.tree import with_leaves
from heedful.decoding.config import SearchConfig
from heedful.errors import HeedfulError

if TYPE_CHECKING:
    from heedful.decoding.request import Request
    from heedful.decoding.translator import Translator
    from heedful.evaluation.report import Provenance


def evaluate(arguments: argparse.Namespace) -> int:
    """Every score of a model or an ensemble, with what is needed to repeat it."""
    keep_apart(arguments.output, *(arguments.test or ()), arguments.test_trees)
    if arguments.test_trees:
        return _evaluate_trees(arguments)
    translator = load(arguments, arguments.model, *arguments.ensemble)
    if translator.loaded[0].config.get("trees"):
        raise HeedfulError(f"{arguments.model} is a parser; give it --test-trees")
    corpus, pairs = read_pairs(arguments.test, translator)
    from heedful.evaluation.likelihood import Likelihood, count_words
    from heedful.evaluation.report import evaluate_strings, render

    options = {**given_fields(arguments, SearchConfig), "precision": arguments.precision}
    sources, references = [source for source, _ in pairs], [target for _, target in pairs]
    hypotheses = [translation.text for translation in translator.translate(sources, **options)]
    scores = translator.score_pairs(pairs)
    search = translator.search_with(**options)
    report = evaluate_strings(
        sources,
        hypotheses,
        references,
        corpus.source_lang,
        corpus.target_lang,
        Likelihood(math.fsum(scores.log_probs), sum(scores.tokens), count_words(references)),
        provenance_of(translator, search, arguments, corpus),
    )
    if arguments.output:
        write_lines(Path(arguments.output), hypotheses)
    print(json.dumps(asdict(report), ensure_ascii=False, indent=2) if arguments.json else render(report))
    return 0


def _evaluate_trees(arguments: argparse.Namespace) -> int:
    """The same of a parser, which is given the words alone."""
    parser = load_parser(arguments, arguments.model, *arguments.ensemble)
    from heedful.evaluation.likelihood import Likelihood, count_words
    from heedful.evaluation.parsing import evaluate_trees, render

    config = replace(parser.config, empty_nodes="drop")
    corpus = TreeCorpus.read(arguments.test_trees, config)
    # as they are in the file against trees over the words that cleaning leaves: EVALB deletes the others
    both = ((rooted(tree), clean(tree, config)) for _, tree in read_trees(arguments.test_trees))
    kept = [(tree, cleaned) for tree, cleaned in both if cleaned]
    if not kept:
        raise HeedfulError(f"{arguments.test_trees} has no tree with a word in it")
    whole, gold = zip(*kept, strict=True)
    options = {**given_fields(arguments, SearchConfig), "precision": arguments.precision}
    trees = [found.trees[0] for found in parser.parse([tree.words() for tree in gold], **options)]
    pairs = [pair_of(tree, Linearisation(config)) for tree in gold]
    sources = [source for source, _ in pairs]
    scores = parser.translator.score_pairs(pairs)
    tags = [
        own == tag
        for tree, other in zip(trees, gold, strict=True)
        for own, tag in zip(tree.tags(), other.tags(), strict=True)
    ]
    report = evaluate_trees(
        sources,
        [str(tree) for tree in whole],
        [str(with_leaves(tree, other.leaves())) for tree, other in zip(trees, gold, strict=True)],
        100 * sum(tags) / len(tags) if config.leaves == "tags" else None,
        Likelihood(math.fsum(scores.log_probs), sum(scores.tokens), count_words(sources)),
        provenance_of(parser.translator, parser.translator.search_with(**options), arguments, corpus),
    )
    if arguments.output:
        write_lines(Path(arguments.output), map(str, trees))
    print(json.dumps(report.as_json(), ensure_ascii=False, indent=2) if arguments.json else render(report))
    return 0


def provenance_of(
    translator: "Translator", search: "Request", arguments: argparse.Namespace, corpus: Corpus
) -> "Provenance":
    """What repeats an evaluation."""
    from heedful.evaluation.report import Provenance

    loaded, *others = translator.loaded
    return Provenance(
        test=" ".join(str(path) for path in corpus.paths),
        model=str(arguments.model),
        checkpoint=loaded.checkpoint.name,
        ensemble=[f"{each.directory}, {each.checkpoint.name}" for each in others],
        recipe=loaded.config["recipe"],
        beam_size=search.beam_size,
        length_penalty=search.length_penalty,
        length_penalty_kind=search.length_penalty_kind,
        precision=translator.precision_of(search),
        data_hash=corpus.digest(),
        seed=loaded.config["training"]["seed"],
        versions=loaded.config["versions"],
    )


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
