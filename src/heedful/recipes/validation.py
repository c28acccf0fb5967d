"""How a model is judged while it trains: perplexity, and BLEU or, of a parser, labelled F1 from real decoding."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from heedful.data.corpus import Corpus
from heedful.data.tokenizer import Tokenizers
from heedful.data.treebank.corpus import TreeCorpus
from heedful.data.treebank.tree import with_leaves
from heedful.decoding.parser import Parser
from heedful.decoding.translator import Translator
from heedful.evaluation.bleu import bleu
from heedful.evaluation.brackets import score_trees
from heedful.evaluation.likelihood import perplexity, perplexity_per_word
from heedful.recipes.config import Recipe
from heedful.training.trainer import Model, Validation


def make_validation(recipe: Recipe, corpus: Corpus, tokenizers: Tokenizers) -> Callable[[Model], Validation]:
    """What a trainer calls to judge its model on `corpus`."""
    search = replace(recipe.decoding, beam_size=recipe.training.validate_beam_size)
    if isinstance(corpus, TreeCorpus):
        return _of_trees(corpus, lambda model: Translator([model], tokenizers, search))
    return _of_text(corpus, lambda model: Translator([model], tokenizers, search))


def _of_text(corpus: Corpus, translator_of: Callable[[Model], Translator]) -> Callable[[Model], Validation]:
    pairs = [pair for pair in corpus.pairs() if pair[0].strip() and pair[1].strip()]
    sources, references = [source for source, _ in pairs], [target for _, target in pairs]

    def validate(model: Model) -> Validation:
        translator = translator_of(model)
        hypotheses = [translation.text for translation in translator.translate(sources)]
        score = bleu(hypotheses, references, corpus.target_lang)
        return Validation(
            *_perplexities(translator, pairs, references),
            hypotheses,
            bleu=score.value,
            bleu_signature=score.signature,
        )

    return validate


def _of_trees(corpus: TreeCorpus, translator_of: Callable[[Model], Translator]) -> Callable[[Model], Validation]:
    """Gold tags take part in the score alone: they say which words are punctuation, which EVALB leaves out."""
    gold, pairs = list(corpus.trees()), list(corpus.pairs())
    words, lines = [tree.words() for tree in gold], [str(tree) for tree in gold]

    def validate(model: Model) -> Validation:
        translator = translator_of(model)
        trees = [parse.trees[0] for parse in Parser(translator, corpus.config).parse(words)]
        tagged = [str(with_leaves(tree, own.leaves())) for tree, own in zip(trees, gold, strict=True)]
        perplexities = _perplexities(translator, pairs, [source for source, _ in pairs])
        return Validation(*perplexities, [str(tree) for tree in trees], f1=score_trees(lines, tagged).all.f1)

    return validate


def _perplexities(
    translator: Translator, pairs: Sequence[tuple[str, str]], texts: Sequence[str]
) -> tuple[float, float]:
    """Per target token, and per word of `texts`."""
    scores = translator.score_pairs(pairs)
    log_prob = math.fsum(scores.log_probs)
    return perplexity(log_prob, sum(scores.tokens)), perplexity_per_word(log_prob, texts)
