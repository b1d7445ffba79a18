"""Measured results: written whole, read back, and stale when the code or a library changes."""

import json

import pytest

from workbench import records, results

CLAIM = {"statement": "better", "left": 0.123456789, "relation": ">", "right": 0.0, "seeds": 3, "asserted": True}


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "FOLDER", tmp_path)


@pytest.fixture
def result():
    return records.StudyResult(
        paper=92,
        title="Does it?",
        table=({"method": "PLD", "seed": 0, "accuracy": 0.123456789}, {"method": "KL", "seed": 0, "accuracy": None}),
        claims=(records.Claim(interval=(0.1, float("inf")), **CLAIM),),
        settings={"data": "digits", "seeds": [0]},
        deviations=("small",),
        cost="an hour",
    )


def test_what_is_written_is_read(result, tmp_path):
    path = results.write(result, 12.34)
    found = results.read(92)
    assert path == tmp_path / "p092.json"
    assert (found.paper, found.title, found.seconds, found.deviations) == (92, "Does it?", 12.3, ["small"])
    assert found.table[0]["accuracy"] == 0.123457
    assert found.claims[0]["high"] is None
    assert found.claims[0]["verdict"] == "holds"
    assert found.settings["seeds"] == "[0]"
    assert [file.name for file in tmp_path.iterdir()] == ["p092.json"]
    assert results.read(101) is None


def test_it_is_current_until_code_or_a_library_changes(result, monkeypatch):
    results.write(result, 1)
    assert results.read(92).current
    with monkeypatch.context() as patch:
        patch.setattr(results.code, "fingerprint", lambda *_: "other")
        assert not results.read(92).current
    monkeypatch.setattr(results, "versions", lambda: {"torch": "9.9"})
    assert not results.read(92).current


@pytest.mark.parametrize("text", ["", "{", "[]", '{"paper": 92}'])
def test_a_damaged_file_is_named(tmp_path, text):
    (tmp_path / "p092.json").write_text(text)
    with pytest.raises(ValueError, match=r"p092\.json is damaged"):
        results.read(92)


def test_each_row_has_a_line(result, tmp_path):
    text = results.write(result, 1).read_text()
    assert json.loads(text)["paper"] == 92
    assert sum('"method"' in line for line in text.splitlines()) == 2
