"""`heedful demo`: the lecture's claim, before the reader's eyes."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from heedful.data.dates import Example
from heedful.decoding.translator import Translator
from heedful.errors import HeedfulError
from heedful.recipes import demo as steps

_SHOWN = ("ko", "ja", "de", "ar_EG", "hi", "fr", "es", "en")
"""Languages of the dates that are translated at the end."""


def demo(arguments: argparse.Namespace) -> int:
    """Data, three trainings, a table, a few translations, a page."""
    if not 0 < arguments.minutes < math.inf:
        raise HeedfulError(f"--minutes {arguments.minutes:g} is no time; give more than 0")
    console, output = Console(), Path(arguments.output)
    console.print("Dates as people write them in many languages → ISO 8601", style="bold")
    parts = steps.make_data(output / "data")
    for example in parts["train"][:3]:
        console.print(Text(f"  {example.source}  →  {example.target}"))
    translators, results = {}, []
    for generation in steps.GENERATIONS:
        recipe = generation.recipe
        console.print(f"\n{recipe.summary}", style="bold")
        translators[recipe.name] = steps.train(generation, output / "data", output / recipe.name, arguments.minutes)
        results.append(steps.measure(recipe.name, translators[recipe.name], parts["test"]))
    console.print(_table(results, len(parts["test"])))
    examples = [next(e for e in parts["test"] if e.locale == locale and e.kind == "interval") for locale in _SHOWN]
    for example in examples:
        _show(console, example, translators)
    page = output / "attention.html"
    steps.save_page(page, translators, examples[0].source)
    console.print(f"\nWhere each model looked: open {page} in a browser.", style="bold")
    return 0


def _table(results: Sequence[steps.Result], lines: int) -> Table:
    """Fits a terminal of 80 columns."""
    table = Table(
        title=f"\nRight answers on {lines} held-out lines, in percent", box=None, padding=(0, 0, 0, 1), pad_edge=False
    )
    lengths = [f"≤{length}" for length in steps.LENGTHS]
    for name in ("model", "lines", "dates", "single", *lengths, "size", "tok/s", "secs"):
        table.add_column(name, justify="left" if name == "model" else "right", no_wrap=True)
    for result in results:
        shares = (result.lines, result.dates, result.single_dates, *result.by_length)
        table.add_row(
            result.name,
            *(f"{share:.1f}" for share in shares),
            f"{result.parameters / 1e6:.2f}M",
            f"{result.tokens_per_second:,.0f}",
            f"{result.seconds:.0f}",
        )
    table.caption = (
        "single: lines of one date; ≤20 …: lines by source length in characters. "
        "Where one fixed-length vector must hold ever more, it fails first."
    )
    return table


def _show(console: Console, example: Example, translators: dict[str, Translator]) -> None:
    console.print(Text(f"\n{example.locale:6} {example.source}"))
    for name, translator in translators.items():
        [translation] = translator.translate([example.source])
        right = translation.text == example.target
        mark = Text(" right" if right else f" wrong, it is {example.target}", style="green" if right else "red")
        console.print(Text(f"    {name:14} {translation.text}").append(mark))
