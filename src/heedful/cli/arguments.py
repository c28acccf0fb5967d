"""The arguments of every command. What runs them is imported when one is called, since torch takes seconds."""

import argparse
import importlib
from collections.abc import Callable
from dataclasses import dataclass

from heedful.cli.fields import add_recipe_fields, add_search_fields

Add = Callable[[argparse.ArgumentParser], None]


@dataclass(frozen=True)
class Command:
    """A line of help, the arguments, and the module of `heedful.cli` whose `run` or other function it calls."""

    summary: str
    add_arguments: Add
    module: str
    function: str

    def run(self, arguments: argparse.Namespace) -> int:
        """Carries it out; the exit code."""
        module = importlib.import_module(f"heedful.cli.{self.module}")
        code: int = getattr(module, self.function)(arguments)
        return code


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", default="demo", metavar="DIR", help="directory for data, models and the page")
    parser.add_argument("--minutes", type=float, default=8.0, metavar="M", help="minutes of training in all")


def _dates(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--size", type=int, required=True, metavar="N", help="lines")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="same seed, same lines")
    parser.add_argument("--from", dest="sources", default="all", metavar="LOCALES", help="ko,ja,de … or all")
    parser.add_argument("--to", dest="target", default="iso", metavar="LOCALE", help="iso, or the locale to write in")
    parser.add_argument("--kinds", default="single,interval,list", metavar="KINDS", help="of single, interval, list")
    parser.add_argument(
        "--split",
        choices=("all", "train", "valid", "test"),
        default="all",
        help="calendar dates of one part only: no date of valid or test stands in train",
    )
    parser.add_argument("--no-times", action="store_true", help="dates alone, without times of day")
    parser.add_argument("--output", required=True, metavar="PREFIX", help="writes PREFIX.source and PREFIX.target")


def _train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--recipe", metavar="NAME", help="a named recipe; `heedful recipes` lists them")
    parser.add_argument(
        "--train",
        nargs="+",
        action="append",
        metavar="PATH",
        help="two line-aligned files, or one TSV or JSON-lines file; may be repeated",
    )
    parser.add_argument("--valid", nargs="+", metavar="PATH", help="as --train")
    parser.add_argument("--train-trees", nargs="+", metavar="FILE", help="instead, for a parser: bracketed trees")
    parser.add_argument("--valid-trees", metavar="FILE", help="as --train-trees")
    parser.add_argument("--train-weights", nargs="+", metavar="W", help="visits of each training corpus per epoch")
    parser.add_argument("--output", metavar="DIR", help="model directory; the same command again goes on in it")
    parser.add_argument("--source-lang", metavar="L", help="default: the first file's suffix")
    parser.add_argument("--target-lang", metavar="L", help="default: the second file's suffix")
    parser.add_argument("--config", metavar="FILE.yaml", help="the same fields as YAML; flags win")
    parser.add_argument("--init-from", metavar="MODEL", help="start from this model's weights and vocabulary")
    add_recipe_fields(parser)


def _plan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", help="a named recipe; `heedful recipes` lists them")
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument(
        "--train",
        nargs="+",
        action="append",
        metavar="PATH",
        help="two line-aligned files, or one TSV or JSON-lines file; may be repeated",
    )
    data.add_argument("--train-trees", nargs="+", metavar="FILE", help="instead, for a parser: bracketed trees")
    parser.add_argument("--gpu", metavar="KIND", help="P100, V100, A100, H100, H200; default all of them")
    parser.add_argument("--gpus", type=int, default=8, metavar="N", help="how many of that kind; default 8")
    parser.add_argument("--seconds", type=float, default=30.0, metavar="S", help="of the measurement; default 30")
    parser.add_argument("--json", action="store_true", help="for programs")
    add_recipe_fields(parser)


def _precision(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--precision", default="float32", metavar="P", help="of products: float32, bfloat16, int8")


def _ensemble(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ensemble", nargs="+", default=(), metavar="MODEL", help="more models of the same vocabulary")


def _machine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", metavar="NAME", help="cpu, cuda, cuda:N; auto: a GPU if any")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads; default all cores")


def _translate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a directory that train or average wrote")
    parser.add_argument("input", nargs="?", metavar="INPUT", help="text, one sentence a line; default stdin")
    parser.add_argument("--output", metavar="FILE", help="default stdout")
    _ensemble(parser)
    parser.add_argument("--n-best", type=int, default=1, metavar="N", help="hypotheses a line (jsonl, nbest)")
    parser.add_argument("--format", choices=("text", "jsonl", "nbest", "pharaoh"), default="text")
    parser.add_argument("--prefix", metavar="TEXT", help="every translation begins with this")
    sampling = parser.add_argument_group("sampling instead of search")
    sampling.add_argument("--sample", action="store_true", help="draw each token at random")
    sampling.add_argument("--temperature", type=float, default=1.0, metavar="T", help="below 1 sharpens")
    sampling.add_argument("--top-k", type=int, metavar="K", help="among the K likeliest tokens")
    sampling.add_argument("--top-p", type=float, metavar="P", help="among the likeliest that make up P")
    sampling.add_argument("--seed", type=int, default=1, metavar="S", help="same seed, same draws")
    add_search_fields(parser)
    _precision(parser)
    _machine(parser)


def _score(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a directory that train or average wrote")
    parser.add_argument("pairs", nargs="+", metavar="PATH", help="two line-aligned files, or one TSV or JSON lines")
    parser.add_argument("--output", metavar="FILE", help="default stdout")
    _machine(parser)


def _parse(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a directory that train wrote with --train-trees")
    parser.add_argument("input", nargs="?", metavar="INPUT", help="sentences; default stdin")
    parser.add_argument(
        "--input-format",
        choices=("auto", "words", "trees"),
        default="auto",
        help="words: one sentence a line, spaces between words; trees: their words and tags; auto looks",
    )
    parser.add_argument("--output", metavar="FILE", help="default stdout")
    parser.add_argument("--pretty", action="store_true", help="drawn for people instead of one tree a line")
    _ensemble(parser)
    add_search_fields(parser)
    _machine(parser)


def _test_set(parser: argparse.ArgumentParser, trees: bool = False) -> None:
    test = parser.add_mutually_exclusive_group(required=True)
    test.add_argument("--test", nargs="+", metavar="PATH", help="as --train of `heedful train`")
    if trees:
        test.add_argument("--test-trees", metavar="FILE", help="bracketed trees, for a parser")
    parser.add_argument("--json", action="store_true", help="for programs")
    add_search_fields(parser)
    _precision(parser)
    _machine(parser)


def _evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a directory that train or average wrote")
    parser.add_argument("--output", metavar="FILE", help="also writes the translations or trees here")
    _ensemble(parser)
    _test_set(parser, trees=True)


def _compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model_a", metavar="MODEL_A")
    parser.add_argument("model_b", metavar="MODEL_B")
    _test_set(parser)


def _score_trees(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("gold", metavar="GOLD", help="bracketed trees, one a line or spread over several")
    parser.add_argument("predicted", metavar="PRED", help="a parser's, one a line, of the same sentences")
    parser.add_argument(
        "--gold-tags",
        action="store_true",
        help="tags of GOLD in PRED too, as evaluate has them: EVALB leaves out punctuation by each side's own tags, "
        "and a comma tagged as a noun is one word too many, an error",
    )
    parser.add_argument("--parameters", metavar="FILE.prm", help="as EVALB's; default what its nk.prm says")
    parser.add_argument("--json", action="store_true", help="for programs")


def _inspect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a directory that train or average wrote")
    parser.add_argument("sentence", metavar="SENTENCE")
    parser.add_argument("--target", metavar="SENTENCE", help="force this target instead of translating")
    parser.add_argument("--output", required=True, metavar="FILE", help="FILE.html, FILE.png, FILE.npz or FILE.json")
    add_search_fields(parser)
    _machine(parser)


def _average(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a directory that train wrote")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--last", type=int, metavar="N", help="the newest checkpoints (Section 6.1); default 5")
    which.add_argument("--best", type=int, metavar="N", help="those of the best validation BLEU")
    parser.add_argument("--output", required=True, metavar="DIR")


def _check_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("train", nargs="+", metavar="PATH", help="two line-aligned files, or one TSV or JSON lines")
    parser.add_argument("--valid", nargs="+", metavar="PATH")
    parser.add_argument("--test", nargs="+", metavar="PATH")
    parser.add_argument("--json", action="store_true", help="for programs")


def _fetch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="a data set; without one, the list of them")
    parser.add_argument("--output", metavar="DIR", help="default data/NAME; the same command again goes on in it")
    parser.add_argument("--mirror", metavar="URL", help="get the archives from URL/FILE instead of their publishers")


def _info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a directory that train or average wrote")
    parser.add_argument("--json", action="store_true", help="for programs")


def _recipes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="show this one in full, as YAML")


def _endings(parser: argparse.ArgumentParser) -> None:
    """Of the files in --data."""
    parser.add_argument("--source-lang", default="en", metavar="LANG", help="ending of its source files; default en")
    parser.add_argument("--target-lang", default="de", metavar="LANG", help="ending of its target files; default de")


def _table1(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", default="table1", metavar="DIR", help="directory for table, numbers and picture")
    parser.add_argument("--quick", action="store_true", help="few and small layers, in seconds, to try it")
    _machine(parser)


def _table3(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--profile", choices=("seconds", "minutes", "hours", "paper"), default="minutes")
    parser.add_argument(
        "--data", required=True, metavar="DIR", help="train and val in it, as `heedful fetch` writes them"
    )
    _endings(parser)
    parser.add_argument("--rows", metavar="NAMES", help="A1,B2,…; base is always among them; default all")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="runs of each row, under the seeds 1 to N")
    parser.add_argument("--list", action="store_true", help="say what would run and how long it will take, no more")
    parser.add_argument(
        "--output", default="table3", metavar="DIR", help="models, table, numbers, picture; goes on there"
    )
    _machine(parser)


def _lecture(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", default="lecture", metavar="DIR", help="directory for pictures, numbers and models")
    parser.add_argument("--only", metavar="NAMES", help="of the experiments, with commas between; default all")
    parser.add_argument(
        "--profile",
        choices=("seconds", "minutes", "hours"),
        default="minutes",
        help="how large models, data and trainings are; seconds: to try the command",
    )
    parser.add_argument(
        "--data", metavar="DIR", help="a corpus beside dates: train, val and test, as fetch writes them"
    )
    _endings(parser)
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="how often each model is drawn and trained")
    _machine(parser)


REPRODUCTIONS = {
    "table1": Command(
        "Section 4: what layer types cost and connect, counted and measured.", _table1, "reproduce", "table1"
    ),
    "table3": Command(
        "Section 6.2: variations of the model, trained and compared with the paper's.", _table3, "reproduce", "table3"
    ),
    "lecture": Command("The lecture's claims as experiments.", _lecture, "reproduce", "lecture"),
}


def _reproduce(parser: argparse.ArgumentParser) -> None:
    names = parser.add_subparsers(dest="reproduction", metavar="NAME", required=True)
    for name, command in REPRODUCTIONS.items():
        child = names.add_parser(name, help=command.summary, description=command.summary, allow_abbrev=False)
        command.add_arguments(child)
        child.set_defaults(run=command.run)


COMMANDS = {
    "demo": Command("Train the three generations on dates and see the difference.", _demo, "demo", "demo"),
    "dates": Command("Write a corpus of dates as people write them.", _dates, "data", "dates"),
    "check-data": Command("Say what is wrong with a corpus before training on it.", _check_data, "data", "check_data"),
    "fetch": Command("Get a public corpus from its publisher, or list what there is.", _fetch, "fetch", "fetch"),
    "train": Command("Train a model, or go on where the same command stopped.", _train, "train", "train"),
    "plan": Command("What a training will cost, before it starts.", _plan, "plan", "plan"),
    "translate": Command("Translate text.", _translate, "translate", "translate"),
    "parse": Command("Trees of sentences.", _parse, "trees", "parse"),
    "score": Command("Log-probabilities of given pairs.", _score, "translate", "score"),
    "evaluate": Command("BLEU, chrF and perplexity on a test set; of a parser, F1.", _evaluate, "evaluate", "evaluate"),
    "compare": Command("Two models on one test set, with significance.", _compare, "evaluate", "compare"),
    "score-trees": Command("F1 of predicted trees, as EVALB counts it.", _score_trees, "trees", "score_trees"),
    "inspect": Command("Draw or write a sentence's attention.", _inspect, "models", "inspect"),
    "average": Command("Average checkpoints into a new model.", _average, "models", "average"),
    "info": Command("What a model is and what it was trained on.", _info, "models", "info"),
    "reproduce": Command("Make the paper's tables or the lecture's claims anew.", _reproduce, "reproduce", "run"),
    "recipes": Command("List the recipes, or show one.", _recipes, "models", "recipes"),
}
