"""BLEU, chrF and exact match against their formulas, written out here, and against the libraries called directly."""

import math
import random
import re
import subprocess
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import pytest
import sacrebleu
from sacremoses import MosesPunctNormalizer, MosesTokenizer

from heedful.errors import HeedfulError
from heedful.evaluation.bleu import bleu, bleu_lowercased_tokenized, chrf, exact_match, moses_tokens

MULTI30K = Path(__file__).resolve().parents[3] / "shared" / "data" / "multi30k"

GERMAN = [
    "Ein Hund läuft über die grüne Wiese.",
    "„Das ist gut“, sagte Frau Dr. Müller-Lüdenscheidt.",
    "Er kam. Sie ging um 17.30 Uhr, z. B. nach Köln!",
    "Preis: 1.234,50 € (ca. 20 %) – für's Erste …",
    'R&D <b>fett</b> | [Liste] `Code\' "Zitat"',
    "",
    "Öl, Übermut und ẞ; Zwei Männer spielen Fußball",
]


def ngrams(items, order):
    return Counter(tuple(items[start : start + order]) for start in range(len(items) - order + 1))


def papineni(hypotheses, references):
    """Corpus BLEU of token lists with one reference, Papineni et al. 2002, Section 2.3, times 100; no smoothing."""
    c, r = sum(map(len, hypotheses)), sum(map(len, references))
    log_precisions = []
    for order in (1, 2, 3, 4):
        clipped = total = 0
        for hypothesis, reference in zip(hypotheses, references, strict=True):
            counts, limits = ngrams(hypothesis, order), ngrams(reference, order)
            clipped += sum(min(count, limits[gram]) for gram, count in counts.items())
            total += sum(counts.values())
        if not clipped:
            return 0.0
        log_precisions.append(math.log(clipped / total))
    brevity = 1.0 if c > r else math.exp(1 - r / c)
    return 100 * brevity * math.exp(sum(log_precisions) / 4)


def popovic(hypotheses, references, beta=2):
    """Corpus chrF of Popović 2015: precision and recall averaged over character 1- to 6-grams, without spaces."""
    precisions, recalls = [], []
    for order in range(1, 7):
        match = in_hypotheses = in_references = 0
        for hypothesis, reference in zip(hypotheses, references, strict=True):
            counts = ngrams("".join(hypothesis.split()), order)
            limits = ngrams("".join(reference.split()), order)
            match += sum(min(count, limits[gram]) for gram, count in counts.items())
            # sacreBLEU leaves out hypotheses whose reference is too short to have such n-grams
            in_hypotheses += sum(counts.values()) if limits else 0
            in_references += sum(limits.values())
        precisions.append(match / in_hypotheses)
        recalls.append(match / in_references)
    precision, recall = sum(precisions) / 6, sum(recalls) / 6
    return 100 * (1 + beta**2) * precision * recall / (beta**2 * precision + recall)


def noisy(texts, share, seed):
    """The texts with a share of words exchanged or lost."""
    generator = random.Random(seed)
    words = sorted({word for text in texts for word in text.split()})
    return [
        " ".join(
            generator.choice(words) if generator.random() < share else word
            for word in text.split()
            if generator.random() > share / 3
        )
        for text in texts
    ]


def test_bleu_by_hand():
    # 4/5 words, 3/4 bigrams, 2/3 trigrams, 1/2 four-grams; no brevity penalty: (1/5)^(1/4)
    assert bleu_lowercased_tokenized(["a b c d e"], ["a b c d f"]).value == pytest.approx(100 * 0.2**0.25)
    # all n-grams right, one word of five missing: the brevity penalty alone
    assert bleu_lowercased_tokenized(["a b c d"], ["a b c d e"]).value == pytest.approx(100 * math.exp(1 - 5 / 4))


def test_multi30k_bleu_is_papineni_on_moses_tokens():
    references = GERMAN * 17
    hypotheses = noisy(references, 0.15, seed=3)
    expected = papineni(
        [tokens.split() for tokens in moses_tokens(hypotheses, "de")],
        [tokens.split() for tokens in moses_tokens(references, "de")],
    )
    assert 5 < expected < 95
    assert bleu_lowercased_tokenized(hypotheses, references, "de").value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("language", ["de", "en", "fr", "cs", "ko", "ru"])
def test_multi30k_bleu_is_the_stated_composition(language):
    references = GERMAN * 5
    hypotheses = noisy(references, 0.2, seed=5)
    normalizer, tokenizer = MosesPunctNormalizer(lang=language), MosesTokenizer(lang=language)

    def tokens(texts):
        lowered = [normalizer.normalize(text).lower() for text in texts]
        return [" ".join(tokenizer.tokenize(text, aggressive_dash_splits=False, escape=False)) for text in lowered]

    expected = sacrebleu.corpus_bleu(
        tokens(hypotheses), [tokens(references)], tokenize="none", smooth_method="none", force=True
    )
    assert bleu_lowercased_tokenized(hypotheses, references, language).value == expected.score


def test_lower_case_comes_before_tokenising():
    # Moses leaves a full stop at a word that a small letter follows, so only lower-casing first keeps "kam."
    assert moses_tokens(["Er kam. Sie ging."], "de") == ["er kam. sie ging ."]


def test_tokens_are_neither_escaped_nor_split_at_hyphens():
    assert moses_tokens(['Ein „T-Shirt“ & <1> [x] | "so"'], "de") == ['ein " t-shirt " & < 1 > [ x ] | " so "']


def test_multi30k_bleu_is_not_smoothed():
    assert bleu_lowercased_tokenized(["a b c x"], ["a b c d"]).value == 0
    assert bleu(["a b c x"], ["a b c d"]).value > 0


def test_multi30k_bleu_ignores_case_and_quotes_but_bleu_does_not():
    hypothesis, reference = ["„ein hund rennt heute“"], ['"Ein Hund rennt heute"']
    assert bleu_lowercased_tokenized(hypothesis, reference, "de").value == pytest.approx(100)
    assert bleu(hypothesis, reference, "de").value < 60


def test_bleu_is_sacrebleu_with_its_defaults():
    references = GERMAN * 11
    hypotheses = noisy(references, 0.1, seed=7)
    for language in (None, "de", "ko", "tgt"):
        score = bleu(hypotheses, references, language)
        assert score.value == sacrebleu.corpus_bleu(hypotheses, [references]).score
        assert score.signature == f"nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:{version('sacrebleu')}"


def test_bleu_of_13a_tokens_is_papineni():
    hypotheses, references = noisy(GERMAN[:1] * 13, 0.1, seed=2), GERMAN[:1] * 13

    def tokens(texts):  # all that 13a does to this sentence
        return [text.replace(".", " .").split() for text in texts]

    assert bleu(hypotheses, references).value == pytest.approx(papineni(tokens(hypotheses), tokens(references)))


def test_chrf_is_popovic():
    references = GERMAN * 3
    hypotheses = noisy(references, 0.2, seed=11)
    score = chrf(hypotheses, references)
    assert score.value == pytest.approx(popovic(hypotheses, references), abs=1e-9)
    assert score.signature == f"nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:{version('sacrebleu')}"


@pytest.mark.parametrize(("language", "tokenizer"), [("zh", "zh"), ("zh-Hant", "zh"), ("ja", "char"), ("TH", "char")])
def test_scripts_without_spaces_have_tokenizers_of_their_own(language, tokenizer):
    hypotheses, references = ["我们今天去北京看朋友。"], ["我们明天去北京看朋友。"]
    score = bleu(hypotheses, references, language)
    assert f"|tok:{tokenizer}|" in score.signature
    assert score.value == sacrebleu.corpus_bleu(hypotheses, [references], tokenize=tokenizer).score > 30


def test_signature_names_the_moses_steps_and_their_language():
    signature = bleu_lowercased_tokenized(["a"], ["a"], "de_AT").signature
    assert re.fullmatch(
        r"moses:normalize\+lowercase\+tokenize\.de\|sacremoses:[\d.]+\|"
        r"nrefs:1\|case:mixed\|eff:no\|tok:none\|smooth:none\|version:[\d.]+",
        signature,
    )


def test_a_region_changes_nothing():
    hypotheses, references = noisy(GERMAN, 0.1, seed=13), GERMAN
    assert moses_tokens(hypotheses, "de-CH") == moses_tokens(hypotheses, "de") != moses_tokens(hypotheses, "fr")
    assert bleu(hypotheses, references, "de-CH") == bleu(hypotheses, references, "de")


STRANGE = [
    "",
    " ",
    "a\u2028b\u0085c",
    "\x00\x1b[31m",
    "🙂👩‍👩‍👧",
    "مرحبا",
    "안녕하세요.",
    "..." * 7,
    "\ud800",
    "\u202e",
    "İ",
]


@pytest.mark.parametrize("language", [None, "de", "ko", "ja", "xx", ""])
@pytest.mark.parametrize("metric", [bleu, bleu_lowercased_tokenized, lambda h, r, _: chrf(h, r)])
def test_strange_and_empty_text_is_scored(metric, language):
    assert metric([""] * len(STRANGE), STRANGE, language).value == 0
    assert metric(STRANGE, [""] * len(STRANGE), language).value == 0
    padded = [*STRANGE, "one two three four five"]
    assert metric(padded, padded, language).value == pytest.approx(100)


def test_exact_match_is_a_percentage():
    assert exact_match(["a", "b ", "ç", "d"], ["a", "b", "ç", "D"]) == 50.0


@pytest.mark.parametrize("metric", [bleu, chrf, bleu_lowercased_tokenized, exact_match])
def test_what_is_not_parallel_is_an_error(metric):
    with pytest.raises(HeedfulError, match="3 hypotheses but 2 references"):
        metric(["a", "b", "c"], ["a", "b"])
    with pytest.raises(HeedfulError, match="no sentences"):
        metric([], [])


def test_importing_evaluation_is_cheap():
    code = (
        "import sys, heedful.evaluation.report, heedful.evaluation.compare;"
        "print(sorted({'torch', 'sacrebleu', 'sacremoses'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.real_data
@pytest.mark.skipif(not MULTI30K.exists(), reason="needs ../shared/data/multi30k")
def test_multi30k_bleu_on_multi30k():
    lines = (MULTI30K / "test_2016_flickr.de").read_bytes().decode()
    references = lines.removesuffix("\n").split("\n")
    hypotheses = noisy(references, 0.15, seed=17)
    expected = papineni(
        [tokens.split() for tokens in moses_tokens(hypotheses, "de")],
        [tokens.split() for tokens in moses_tokens(references, "de")],
    )
    assert len(references) == 1000
    assert bleu_lowercased_tokenized(hypotheses, references, "de").value == pytest.approx(expected, abs=1e-9)
