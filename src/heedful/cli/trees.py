"""`heedful score-trees`."""

import argparse
import json

from heedful.data.corpus import read_lines
from heedful.evaluation.brackets import as_json, render
from heedful.evaluation.brackets import score_trees as score
from heedful.evaluation.evalb import Parameters, read_parameters


def score_trees(arguments: argparse.Namespace) -> int:
    """EVALB's figures of one file of trees against another."""
    path = arguments.parameters
    parameters = read_parameters(read_lines(path), path) if path else Parameters()
    # a line may be blank, and then its sentence is a skip
    scores = score(read_lines(arguments.gold), read_lines(arguments.predicted, allow_empty=True), parameters)
    print(json.dumps(as_json(scores), ensure_ascii=False, indent=2) if arguments.json else render(scores))
    return 0
