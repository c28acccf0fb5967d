"""`evaluate`: the promised keys, their values, strict JSON, and what is printed."""

import json
import logging
import math
from dataclasses import asdict

import pytest

from heedful.errors import HeedfulError
from heedful.evaluation.bleu import bleu, bleu_lowercased_tokenized, chrf
from heedful.evaluation.likelihood import Likelihood
from heedful.evaluation.report import Provenance, evaluate_strings, render

SOURCES = ["a dog runs home", "two men are here today in the rain", "hello"]
REFERENCES = ["Ein Hund rennt heim.", "Zwei Männer sind heute hier im Regen.", "Hallo!"]
HYPOTHESES = ["Ein Hund läuft heim.", "zwei Männer sind heute da im Regen.", "Hallo!"]
PROVENANCE = Provenance(
    test="test_2016_flickr",
    model="runs/en-de",
    checkpoint="step-7000",
    recipe="tiny",
    beam_size=4,
    length_penalty=0.6,
    length_penalty_kind="paper",
    precision="int8",
    data_hash="5f1d",
    seed=3,
    ensemble=["runs/second, step-6000"],
    versions={"heedful": "0.1.0"},
)


def evaluation(likelihood=None, provenance=None):
    return evaluate_strings(
        sources=SOURCES,
        hypotheses=HYPOTHESES,
        references=REFERENCES,
        source_language="en",
        target_language="de",
        likelihood=likelihood,
        provenance=provenance,
    )


def test_the_record_has_the_promised_keys_and_values():
    record = json.loads(json.dumps(asdict(evaluation(Likelihood(-26.0, 17, 13), PROVENANCE)), allow_nan=False))
    plain, characters = bleu(HYPOTHESES, REFERENCES, "de"), chrf(HYPOTHESES, REFERENCES)
    tokenized = bleu_lowercased_tokenized(HYPOTHESES, REFERENCES, "de")
    by_length = record.pop("bleu_by_length")
    assert record == {
        "sentences": 3,
        "bleu": plain.value,
        "bleu_signature": plain.signature,
        "chrf": characters.value,
        "chrf_signature": characters.signature,
        "bleu_lowercased_tokenized": tokenized.value,
        "bleu_lowercased_tokenized_signature": tokenized.signature,
        "exact_match": pytest.approx(100 / 3),
        "perplexity": math.exp(26 / 17),
        "perplexity_per_word": math.exp(2),
        "provenance": {
            "test": "test_2016_flickr",
            "model": "runs/en-de",
            "checkpoint": "step-7000",
            "recipe": "tiny",
            "beam_size": 4,
            "length_penalty": 0.6,
            "length_penalty_kind": "paper",
            "precision": "int8",
            "data_hash": "5f1d",
            "seed": 3,
            "ensemble": ["runs/second, step-6000"],
            "versions": {"heedful": "0.1.0"},
        },
    }
    assert [(row["shortest"], row["longest"], row["sentences"]) for row in by_length] == [(1, 5, 2), (6, 10, 1)]
    assert by_length[1]["score"] == bleu(HYPOTHESES[1:2], REFERENCES[1:2]).value


def test_what_json_has_no_number_for_is_null():
    assert evaluation().perplexity is None
    record = json.loads(json.dumps(asdict(evaluation(Likelihood(-math.inf, 17, 0))), allow_nan=False))
    assert record["perplexity"] is record["perplexity_per_word"] is None


def test_every_printed_score_stands_beside_its_signature_and_provenance():
    result = evaluation(Likelihood(-26.0, 17, 13), PROVENANCE)
    lines = render(result).split("\n")
    for value, signature in (
        (result.bleu, result.bleu_signature),
        (result.chrf, result.chrf_signature),
        (result.bleu_lowercased_tokenized, result.bleu_lowercased_tokenized_signature),
    ):
        assert any(line.endswith(f"{value:.2f}  {signature}") for line in lines)
    text = "\n".join(lines)
    for part in ("7.39", "33.33", "6-10", "test_2016_flickr (5f1d)", "tiny, seed 3", "beam 4", "0.6 (paper)", "0.1.0"):
        assert part in text
    assert "with      runs/second, step-6000" in lines


def test_perplexity_and_provenance_may_be_missing():
    text = render(evaluation())
    assert "BLEU" in text
    assert "perplexity" not in text
    assert "model" not in text


def test_tokenised_references_are_reported(caplog):
    with caplog.at_level(logging.WARNING, logger="heedful"):
        evaluation()
        assert not caplog.records
        tokenized = ["ein Hund .", "zwei Männer .", "hallo !"]
        evaluate_strings(sources=SOURCES, hypotheses=HYPOTHESES, references=tokenized)
    assert "2 of 3 references" in caplog.text


def test_what_is_not_parallel_is_an_error():
    with pytest.raises(HeedfulError, match="2 sources but 3 references"):
        evaluate_strings(sources=SOURCES[1:], hypotheses=HYPOTHESES, references=REFERENCES)
