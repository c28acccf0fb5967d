"""The catalogue of data sets: complete, and each description leads to line-aligned files."""

import dataclasses
import gzip
import re
from pathlib import Path

import pytest

from heedful.cli.main import main
from heedful.data.fetch import all_datasets, catalogue, dataset, fetch_dataset
from heedful.recipes.config import Recipe
from heedful.recipes.named import recipe
from tests.data.file_server import Served, file_server
from tests.data.test_archive import tar


def _as_published(archive: str, parts: list[catalogue.Part]) -> bytes:
    """An archive with the members that these parts name, in their formats; each line says where it is from."""
    members = {}
    for part in parts:
        for name in (part.source, part.target):
            lines = [f"{name} {number}" for number in range(1, 24)]
            wrapped = (
                [f'<seg id="{n}"> {line} </seg>' for n, line in enumerate(lines)] if part.format == "sgm" else lines
            )
            content = "".join(f"{line}\n" for line in wrapped).encode()
            members[name] = gzip.compress(content) if name.endswith(".gz") else content
    if not parts[0].archive:
        return members[archive]
    made = gzip.compress(tar(members))
    inside = catalogue.archive(archive).inside
    return tar({inside: made}) if inside else made


@pytest.mark.parametrize("name", list(all_datasets()))
def test_every_data_set_s_description_leads_to_its_files(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With archives built as described; whether the description is true, only the publisher can tell."""
    wanted = dataset(name)
    parts = [part for parts in wanted.splits.values() for part in parts]
    archives, datasets = catalogue._catalogue()
    unchecked = {key: dataclasses.replace(each, checksum=None) for key, each in archives.items()}
    monkeypatch.setattr(catalogue, "_catalogue", lambda: (unchecked, datasets))
    with file_server() as server:
        for archive in wanted.archives:
            its = [part for part in parts if archive in part.archives]
            server.files[f"/{archive}"] = Served(_as_published(archive, its))
        files = fetch_dataset(wanted, tmp_path, server.url)
    for split, paths in files.items():
        sides = [path.read_text().splitlines() for path in paths]
        count = sum({None: 23, 23: 1}[part.every] - bool(part.except_every) for part in wanted.splits[split])
        assert [len(side) for side in sides] == [count, count]
        assert [line.split()[1] for line in sides[0]] == [line.split()[1] for line in sides[1]]
        for path, side, language in zip(paths, sides, wanted.languages, strict=True):
            assert path.suffix == f".{language}"
            # the member's own name says its language, first of all: -src.en.sgm, .de-en.de.xml, .en.gz
            assert all(re.search(rf"\.{language}(\.sgm|\.xml|\.gz)?$", line.split()[0]) for line in side)
    train = set((tmp_path / f"train.{wanted.languages[0]}").read_text().splitlines())
    assert train.isdisjoint((tmp_path / f"{wanted.valid}.{wanted.languages[0]}").read_text().splitlines())


def test_every_description_is_complete() -> None:
    for name, each in all_datasets().items():
        assert isinstance(recipe(each.recipe), Recipe), name
        assert each.valid in each.splits, name
        assert "train" in each.splits, name
        assert each.licence, name
        for archive in map(catalogue.archive, each.archives):
            assert archive.url.startswith("https://")
            assert (archive.checksum is None) == (archive.cited is None)
            assert archive.instead is None or catalogue.archive(archive.instead)


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch"]) == 0
    said = capsys.readouterr().out
    for name, each in all_datasets().items():
        assert f"{name}: {each.summary}" in said
        assert each.home in said
    assert "download  1.7 GB" in said
    assert "train.{en,de}" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["mutli30k"], "the nearest is multi30k"), (["--output", "x"], "name a data set")],
)
def test_wrong_arguments(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", *arguments]) == 2
    assert said in capsys.readouterr().err
