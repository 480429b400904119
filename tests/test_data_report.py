"""The data report: what it counts, and a page that shows texts and never runs them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from random import Random

from callwright.data_stats import Sample, describe, distinct, openings, phrasings, spread
from callwright.duplicates import signature
from callwright.records import Language, Reply, User
from callwright.rules import Rules
from stages._data_report import Facts, write
from stages.validate import Counts, validate
from tests.rows import as_line, conversation, generated, office


def test_distinct_n_is_the_share_of_different_n_grams() -> None:
    assert distinct(["a b a b"], Language.EN, 1) == 2 / 4
    assert distinct(["a b a b"], Language.EN, 2) == 2 / 3
    assert distinct(["查預算", "查薪資"], Language.ZH_TW, 1) == 5 / 6
    assert distinct(["a"], Language.EN, 2) is None


def test_a_sample_is_the_same_whatever_the_order_of_the_rows() -> None:
    rows = [(signature(row).fingerprint, as_line(row)) for row in generated()]
    shuffled = rows.copy()
    Random(3).shuffle(shuffled)
    samples = [Sample(20), Sample(20)]
    for sample, part in zip(samples, (rows, shuffled), strict=True):
        for fingerprint, line in part:
            sample.add(fingerprint, line)
    first, second = (sample.examples() for sample in samples)
    assert first == second
    assert len(first) == 20
    whole = Sample(10_000)
    for fingerprint, line in rows:
        whole.add(fingerprint, line)
    assert len(whole.examples()) == len(rows)


def test_lengths_and_openings_are_those_of_the_requests() -> None:
    rows = [
        conversation(User("Book it now please"), Reply("Sure."), language=Language.EN),
        conversation(User("book it later"), Reply("Sure."), language=Language.EN),
        conversation(User("幫我查一下預算"), Reply("好。")),
    ]
    found = describe(rows)
    assert found["request_characters"] == {"zh-TW": [7], "en": [18, 13]}
    assert found["openings"]["en"] == [("book it", 2)]
    assert openings(rows[2:], Language.ZH_TW) == [("幫我查一", 1)]
    assert spread([3, 1, 2]) == {"min": 1, "25%": 1, "median": 2, "75%": 3, "max": 3}
    assert spread([]) == {}


def test_phrasings_are_those_of_tools_that_training_may_offer() -> None:
    every = phrasings(office(), frozenset(), frozenset())
    some = phrasings(office(), frozenset({"book_room"}), frozenset())
    assert every - some == {name for name in every if "/book_room." in name}
    assert phrasings(office(), frozenset(), frozenset({"office"})) == set()
    used = {f"{row.language}/{text}" for row in generated() for text in row.source["texts"] if row.split == "train"}
    assert used & every


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_stands_alone_and_shows_the_text_of_rows_as_text(tmp_path: Path) -> None:
    nasty = conversation(User("<script>alert(1)</script> & {{ 7*7 }} <img src=x onerror=alert(1)>"), Reply("好。"))
    path = tmp_path / "rows.jsonl"
    lines = [as_line(replace(nasty, id="nasty")), *map(as_line, generated()), '{"<b>": "\\ud800']
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    counts = Counts()
    for row in validate([path], Rules(office()), 0.8, processes=1):
        counts.add(row)
    assert counts.rejects
    report = counts.report()
    write(tmp_path, Facts(report, counts.sample.examples(), counts.examples, counts.warned, (1, 2)))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    parser = Tags()
    parser.feed(page)
    assert "script" not in {tag for tag, _ in parser.tags}
    sources = [attributes["src"] or "" for tag, attributes in parser.tags if tag == "img"]
    assert len(sources) == 4
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)
    assert f"{report['accepted']:,}" in page
    assert json.loads((tmp_path / "diversity.json").read_text())["rows"] == len(counts.sample.examples())


def test_no_rows_make_a_page_too(tmp_path: Path) -> None:
    write(tmp_path, Facts(Counts().report(), [], {}, {}, (0, 0)))
    assert "None." in (tmp_path / "report.html").read_text(encoding="utf-8")
