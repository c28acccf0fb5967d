"""What training leaves for its reader: metrics.jsonl and TensorBoard events, also after an interruption."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from heedful.errors import HeedfulError
from heedful.training.record import Recorder
from tests.small import full_disk


def _records(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().split("\n") if line]


def _events(path: Path) -> list[Event]:
    """TensorBoard's format: each event after its length and that length's checksum, before its own checksum."""
    content, place, found = path.read_bytes(), 0, []
    while place < len(content):
        (length,) = struct.unpack_from("<Q", content, place)
        found.append(Event.FromString(content[place + 12 : place + 12 + length]))
        place += 12 + length + 4
    return found


def test_numbers_are_json_lines_and_events_at_once(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, 0)
    recorder.write(7, {"loss": 2.5, "epoch": 1})
    recorder.write(11, {"valid_bleu": 31.25, "valid_bleu_signature": "nrefs:1"})
    assert _records(tmp_path) == [
        {"step": 7, "loss": 2.5, "epoch": 1},
        {"step": 11, "valid_bleu": 31.25, "valid_bleu_signature": "nrefs:1"},
    ]
    [path] = (tmp_path / "tensorboard").iterdir()
    scalars = [(event.step, value.tag, value.simple_value) for event in _events(path) for value in event.summary.value]
    assert scalars == [(7, "loss", 2.5), (11, "valid/bleu", 31.25)]
    recorder.close()


def test_a_resumed_run_takes_back_what_was_undone(tmp_path: Path) -> None:
    first = Recorder(tmp_path, 0)
    for step in (3, 5, 7):
        first.write(step, {"loss": 1.0})
    first.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # cut short
    second = Recorder(tmp_path, 5)
    second.write(7, {"loss": 9.0})
    second.close()
    assert [(record["step"], record["loss"]) for record in _records(tmp_path)] == [(3, 1.0), (5, 1.0), (7, 9.0)]
    starts = [
        event.step
        for path in sorted((tmp_path / "tensorboard").iterdir())
        for event in _events(path)
        if event.session_log.status == SessionLog.START
    ]
    assert starts[-1] == 6  # TensorBoard hides steps from here on of files before


def test_a_full_disk_is_an_error_and_no_endless_wait(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, 0)
    for step in range(1, 5):
        recorder.write(step, {"loss": 1.0})
    with full_disk((tmp_path / "metrics.jsonl").stat().st_size), pytest.raises(HeedfulError, match="cannot write"):
        recorder.write(5, {"loss": 1.0})
    recorder.close()
