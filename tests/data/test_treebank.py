"""Trees are read as they stand or refused with their line, cleaned as asked, and linearised there and back."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heedful.data.treebank.cleaning import clean, clean_trees
from heedful.data.treebank.config import TreeConfig
from heedful.data.treebank.linearisation import Linearisation
from heedful.data.treebank.reading import read_trees, trees_in
from heedful.data.treebank.tree import Leaf, Node, Tree, with_leaves
from heedful.errors import HeedfulError

CRAFT = Path(__file__).resolve().parents[3] / "shared" / "data" / "craft"
CONFIGS = [
    TreeConfig(linearisation=order, leaves=leaves)  # type: ignore[arg-type]
    for order in ("top-down", "in-order")
    for leaves in ("placeholder", "tags")
]
WSJ = """\
( (S
    (NP-SBJ-1 (NNP Mr.) (NNP Vinken))
    (VP (VBD was)
      (VP (VBN named)
        (S (NP-SBJ (-NONE- *-1)) (NP-PRD (NP (NN chairman)) (PRT|ADVP (RP up))))))
    (. .)))
"""


def tree(text: str) -> Tree:
    [(_, found)] = trees_in(text.split("\n"))
    return found


def words_of(found: Tree) -> list[str]:
    return [leaf.word for leaf in found.leaves()]


def test_one_tree_on_a_line_and_several_lines_read_alike() -> None:
    lines = WSJ.replace("\n    ", " \n").split("\n")
    both = list(trees_in(["(S (NP (NN It)))(X", "(Y z))", "", *lines]))
    assert [line for line, _ in both] == [1, 1, 4]
    assert [str(found) for _, found in both[:2]] == ["(S (NP (NN It)))", "(X (Y z))"]
    assert both[2][1] == tree(WSJ) == tree(" ".join(WSJ.split()))
    assert words_of(tree(WSJ)) == ["Mr.", "Vinken", "was", "named", "*-1", "chairman", "up", "."]


def test_only_ascii_spaces_separate() -> None:
    assert words_of(tree("(S\t(CD 10\u00a0000)\f(NN 万\u3000円))")) == ["10\u00a0000", "万\u3000円"]


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("(S (NN a))\n(S (NN b)", 2, "never closed"),
        ("(S (NN a)\n)\n(S (NN b)))", 3, "nothing opened"),
        ("(S (NN a\nb))", 2, "'b' is one word too many"),
        ("(S (NN a)\nb)", 2, "'b' is one word too many"),
        ("(S (NP a\n(NN b)))", 2, "follows the word 'a'"),
        ("(S (NN a))\nhello (S (NN b))", 2, "'hello' stands outside"),
        ("(S ((NN a)))", 1, "without a label"),
        ("(S\n(NN a) ())", 2, "holds nothing"),
        ("(S\n(N\u00a0N a))", 2, "a space in the label"),
        ("( (S (NP (DT a)\n( (S (NN b)))", 2, "without a label inside the tree that begins in line 1"),
        (
            "(TOP (S (NP (DT a)))\n(TOP (S (NN b)))\n(TOP (NN c))))",
            2,
            "a root, TOP, inside .* line 1; .* lacks closing",
        ),
    ],
)
def test_what_is_no_tree_is_an_error_with_its_line(tmp_path: Path, text: str, line: int, what: str) -> None:
    path = tmp_path / "trees.mrg"
    path.write_text(text)
    with pytest.raises(HeedfulError, match=f"trees.mrg, line {line}: .*{what}") as caught:
        list(read_trees(path))
    assert "\n" not in str(caught.value)


def test_a_file_without_a_tree_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "trees.mrg"
    path.write_text("\n\n")
    with pytest.raises(HeedfulError, match="has no tree"):
        list(read_trees(path))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {},
            "(TOP (S (NP (NNP Mr.) (NNP Vinken)) (VP (VBD was) (VP (VBN named) "
            "(S (NP (NP (NN chairman)) (PRT (RP up)))))) (. .)))",
        ),
        (
            {"function_tags": True},
            "(TOP (S (NP-SBJ-1 (NNP Mr.) (NNP Vinken)) (VP (VBD was) (VP (VBN named) "
            "(S (NP-PRD (NP (NN chairman)) (PRT|ADVP (RP up)))))) (. .)))",
        ),
        (
            {"traces": True},
            "(TOP (S (NP (NNP Mr.) (NNP Vinken)) (VP (VBD was) (VP (VBN named) "
            "(S (NP (-NONE- *-1)) (NP (NP (NN chairman)) (PRT (RP up)))))) (. .)))",
        ),
    ],
)
def test_cleaning(options: dict[str, bool], expected: str) -> None:
    assert str(clean(tree(WSJ), TreeConfig(**options))) == expected  # type: ignore[arg-type]


def test_a_label_that_begins_with_a_dash_is_no_function_tag() -> None:
    assert str(clean(tree("(S (-LRB- (NN a)) (X=1 (NN b)))"), TreeConfig())) == "(TOP (S (-LRB- (NN a)) (X (NN b))))"


def test_a_root_may_stand_around_another_one(tmp_path: Path) -> None:
    path = tmp_path / "trees.mrg"
    path.write_text("(ROOT (TOP (S (NN a))))\n( (S1 (S (NN a))))\n")
    assert [str(tree) for _, tree in read_trees(path)] == ["(ROOT (TOP (S (NN a))))", "( (S1 (S (NN a))))"]


@pytest.mark.parametrize("root", ["(S (NN a))", "( (S (NN a)))", "(TOP (S (NN a)))", "(ROOT (S (NN a)))"])
def test_every_tree_has_one_root(root: str) -> None:
    assert str(clean(tree(root), TreeConfig())) == "(TOP (S (NN a)))"


def test_a_word_alone_gets_a_root() -> None:
    assert str(clean(tree("(NN a)"), TreeConfig())) == str(clean(tree("(TOP (NN a))"), TreeConfig())) == "(TOP (NN a))"


def test_chains_of_one_label_are_one_unless_they_shall_stay() -> None:
    chain = tree("(TOP (NP (NP (NP (NN a)))))")
    assert str(clean(chain, TreeConfig())) == "(TOP (NP (NN a)))"
    assert clean(chain, TreeConfig(unary_chains=True)) == chain
    assert str(clean(tree("(NP-A (NP-B (NN a)))"), TreeConfig())) == "(TOP (NP (NN a)))"
    assert str(clean(tree("(NP-A (NP-B (NN a)))"), TreeConfig(function_tags=True))) == "(TOP (NP-A (NP-B (NN a))))"


def test_empty_nodes_are_an_error_with_its_line_or_dropped(tmp_path: Path) -> None:
    path = tmp_path / "trees.mrg"
    path.write_text("(S (NN a))\n(S (NP (ADJP )) (VP (VB go)))\n(S (NP (-NONE- *)))\n(S (NP))\n")
    with pytest.raises(HeedfulError, match=r"trees.mrg, the tree of line 2: \(ADJP\) holds nothing"):
        list(clean_trees(path, TreeConfig()))
    dropped = [(line, str(found)) for line, found in clean_trees(path, TreeConfig(empty_nodes="drop"))]
    assert dropped == [(1, "(TOP (S (NN a)))"), (2, "(TOP (S (VP (VB go))))")]


def test_top_down_is_the_example_of_vinyals_et_al_2015() -> None:
    """Figure 2 there: "John has a dog ." with its tree's symbols, and Section 3.2: all tags become XX."""
    parsed = tree("(S (NP (NNP John)) (VP (VBZ has) (NP (DT a) (NN dog))) (. .))")
    cleaned = clean(parsed, TreeConfig())
    assert cleaned
    with_tags = Linearisation(TreeConfig(leaves="tags")).symbols(cleaned)
    assert " ".join(with_tags) == "(S (NP NNP )NP (VP VBZ (NP DT NN )NP )VP . )S"
    without = Linearisation(TreeConfig()).symbols(cleaned)
    assert " ".join(without) == "(S (NP XX )NP (VP XX (NP XX XX )NP )VP XX )S"


def test_in_order_is_the_example_of_liu_and_zhang_2017() -> None:
    """Figure 1 and Table 1 there: SHIFT, NT-X and REDUCE of "The little boy likes red tomatoes ."."""
    parsed = tree(
        "(S (NP (DT The) (JJ little) (NN boy)) (VP (VBZ likes) (NP (JJ red) (NNS tomatoes))) (. .))",
    )
    cleaned = clean(parsed, TreeConfig())
    assert cleaned
    actions = "XX (NP XX XX )NP (S XX (VP XX (NP XX )NP )VP XX )S"
    assert " ".join(Linearisation(TreeConfig(linearisation="in-order")).symbols(cleaned)) == actions


labels = st.sampled_from(["S", "NP", "VP", "TOP"])
leaves = st.builds(Leaf, st.sampled_from(["NN", "XX", "-LRB-"]), st.sampled_from(["a", "-RRB-"]))
nodes: st.SearchStrategy[Node] = st.recursive(
    leaves, lambda inner: st.builds(Tree, labels, st.lists(inner, min_size=1, max_size=4).map(tuple)), max_leaves=12
)


@given(st.builds(Tree, st.just("TOP"), st.lists(nodes, min_size=1, max_size=3).map(tuple)), st.sampled_from(CONFIGS))
def test_any_tree_comes_back(whole: Tree, config: TreeConfig) -> None:
    assert tree(str(whole)) == whole
    cleaned = clean(whole, config)
    assert cleaned
    linearisation = Linearisation(config)
    symbols = linearisation.symbols(cleaned)
    assert linearisation.tree(symbols, cleaned.words(), cleaned.tags()) == cleaned
    untagged = linearisation.tree(symbols, cleaned.words())
    expected = cleaned.tags() if config.leaves == "tags" else ["XX"] * len(cleaned.words())
    assert untagged.tags() == expected
    assert with_leaves(untagged, cleaned.leaves()) == cleaned


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.linearisation}-{config.leaves}")
@pytest.mark.parametrize(
    ("symbols", "words"),
    [
        ("(S XX", 1),
        ("(S XX )NP", 1),
        ("(S XX )S )S", 1),
        ("(S XX )S (S XX )S", 2),
        ("(S )S", 0),
        ("XX", 1),
        ("(S XX )S", 2),
        ("XX (S )S XX", 2),
        ("", 0),
    ],
)
def test_symbols_that_are_no_tree_are_refused(config: TreeConfig, symbols: str, words: int) -> None:
    with pytest.raises(ValueError, match=r"leaves, but|closes nothing|not one bracket|before its first child"):
        Linearisation(config).tree(symbols.split(), ["w"] * words)


def test_a_tree_may_be_deeper_than_python_recurses() -> None:
    depth = 5_000
    text = "(A (B " * depth + "(NN a)" + "))" * depth
    cleaned = clean(tree(text), TreeConfig())
    assert cleaned
    for config in CONFIGS:
        symbols = Linearisation(config).symbols(cleaned)
        assert str(Linearisation(config).tree(symbols, ["a"], ["NN"])) == f"(TOP {text})"


@pytest.mark.real_data
@pytest.mark.skipif(not CRAFT.is_dir(), reason="needs ../shared/data/craft")
@pytest.mark.parametrize("name", ["train.mrg", "dev.mrg"])
def test_every_tree_of_craft_comes_back(name: str) -> None:
    lines = (CRAFT / name).read_text().splitlines()
    trees = list(clean_trees(CRAFT / name, TreeConfig()))
    assert [number for number, _ in trees] == list(range(1, len(lines) + 1))
    for (_, cleaned), line in zip(trees, lines, strict=True):
        assert str(cleaned) == line
        leaves = cleaned.leaves()
        words, tags = [leaf.word for leaf in leaves], [leaf.tag for leaf in leaves]
        for config in CONFIGS[:3]:  # each order, each kind of leaf
            linearisation = Linearisation(config)
            symbols = linearisation.symbols(cleaned)
            assert linearisation.tree(symbols, words, None if config.leaves == "tags" else tags) == cleaned
