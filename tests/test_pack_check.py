"""callwright pack check: what is wrong with a pack, and what it lacks; drafts are read and never generate."""

from __future__ import annotations

from copy import deepcopy
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from callwright.faults import Fault
from callwright.packs import lacking, read_pack, read_packs
from commands.main import app
from tests.rows import ROOT
from tests.small_pack import both, halves, write_pack

PACKS = sorted((ROOT / "packs").glob("*.yaml"))


def check(*paths: Path, **options: Any) -> tuple[int, str, str]:
    more = [f"--{name}={value}" for name, value in options.items()]
    done = CliRunner().invoke(app, ["pack", "check", *map(str, paths), *more])
    return done.exit_code, done.stdout, done.stderr


def test_the_packs_that_we_ship_lack_nothing() -> None:
    code, out, _ = check(*PACKS)
    assert code == 0, out
    assert len(PACKS) >= 12
    assert sum(len(pack.tools) for pack in read_packs([path.stem for path in PACKS], ROOT / "packs")) >= 100


def test_a_small_pack_lacks_much_and_each_lack_has_its_line(tmp_path: Path) -> None:
    path = write_pack(tmp_path)
    code, out, _ = check(path)
    assert code == 1
    lines = out.splitlines()
    assert all(line.startswith(f"{path}:") for line in lines)
    found = next(line for line in lines if "tool 'find_book' lacks" in line)
    assert "phrasings in zh-TW (2 of 6 for train, 1 of 2 for test)" in found
    number = int(found.split(":")[1])
    assert "find_book" in path.read_text(encoding="utf-8").splitlines()[number - 1]
    assert any("there are no chains: no row has a call that takes an earlier result" in line for line in lines)
    assert any("there are no errors: no row shows a tool that fails" in line for line in lines)
    assert lines[-1].startswith(f"{path}: 5 tools, 0 of them whole; ")
    assert len(check(path, limit=1)[1].splitlines()) == 3
    read_pack(path)  # and yet rows can be written


def empty(*keys: str) -> dict[str, Any]:
    return both(halves([], []), halves([], []))


def test_a_draft_is_checked_and_cannot_generate(tmp_path: Path) -> None:
    path = write_pack(tmp_path, ("tools.1.phrasings", empty()), ("tools.1.clauses", empty()))
    text = path.read_text(encoding="utf-8")
    start = text.index("  action:\n    select: books")
    path.write_text(text[:start] + text[text.index("- name: count_books") :], encoding="utf-8")  # no action, no replies
    code, out, _ = check(path)
    assert code == 1
    found = next(line for line in out.splitlines() if "tool 'find_book' lacks" in line)
    assert "phrasings in zh-TW (0 of 6 for train, 0 of 2 for test)" in found
    assert "an action, so that it cannot be run and no row shows its result" in found
    with pytest.raises(Fault, match="tool 'find_book' lacks phrasings in zh-TW"):
        read_pack(path)


def test_what_is_wrong_is_2_and_told_with_what_other_packs_lack(tmp_path: Path) -> None:
    path = write_pack(tmp_path, ("tools.1.phrasings.en.train.0", "find {title} by {isbn}"))
    code, out, err = check(path, PACKS[0], tmp_path / "none.yaml")
    assert code == 2
    assert "tool 'find_book' has no parameter 'isbn'" in err
    assert "none.yaml is missing" in err
    assert f"{PACKS[0]}: " in out


CHAIN = {
    "steps": [{"tool": "find_book"}, {"tool": "count_books", "take": {"shelf": "shelf"}}],
    "phrasings": both(
        halves(["找{title}再數那架"], ["{title}在哪,數一下"]), halves(["Find {title}, count."], ["{title}?"])
    ),
}
WRONG = [
    ({"steps": [{"tool": "fly"}, {"tool": "count_books"}]}, "chain takes tool 'fly', which is not there; name another"),
    (
        {"steps": [{"tool": "find_book"}, {"tool": "count_books", "take": {"shelf": "price"}}]},
        "chain takes 'price', which no earlier step has; they have find_book.shelf, find_book.title",
    ),
    (
        {"steps": [{"tool": "find_book"}, {"tool": "count_books", "take": {"isbn": "shelf"}}]},
        "tool 'count_books' has no parameter 'isbn'; it has shelf",
    ),
    (
        {"phrasings": both(halves(["找{isbn}"], ["數{title}"]), halves(["Find {title}."], ["Count {title}."]))},
        "'找{isbn}' holds 'isbn', which no step has as a parameter; write {PARAMETER} or {TOOL.PARAMETER}",
    ),
    (
        {"phrasings": both(halves(["找書"], ["數{title}"]), halves(["Find {title}."], ["Count {title}."]))},
        "tool 'find_book' requires 'title', which '找書' leaves out; add {title}",
    ),
    (
        {"steps": [{"tool": "find_book"}, {"tool": "move_book"}]},
        "holds 'title', which several steps have; write {TOOL.title}",
    ),
]


@pytest.mark.parametrize(("change", "sentence"), WRONG)
def test_a_chain_that_cannot_be_is_told(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    read_pack(write_pack(tmp_path, ("chains", [CHAIN])))
    with pytest.raises(Fault) as fault:
        read_pack(write_pack(tmp_path, ("chains", [CHAIN | change])))
    assert sentence in str(fault.value)


TOLD = both(halves(["找不到。"], ["沒有。"]), halves(["Nothing found."], ["None."]))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("errors", [{"error": "lost", "tools": ["fly"], "told": TOLD}]), "error 'lost' names tool 'fly'"),
        (
            ("errors", [{"error": "lost", "told": both(halves(["{title}"], []), halves(["a"], ["b"]))}]),
            "error 'lost' tells '{title}', which holds a placeholder; take it out",
        ),
        (("answers", both(halves(["好"], []), halves([], []))), "answer '好' should hold {value} and nothing else"),
        (
            ("lead_ins", both(halves(["{title},"], []), halves([], []))),
            "'{title},' holds a placeholder; lead_ins stand",
        ),
        (("code_switch", {"書": ""}), "code_switch has '書': ''; both are plain words"),
        (
            ("slots.order", {"object": {"name": "none"}, "say": both("{name}", "{name}")}),
            "slot 'order' has a part from slot 'none', which is no slot; add it under slots",
        ),
        (
            ("slots.order", {"object": {"name": "title"}, "say": both("{name}", "{number} {name}")}),
            "slot 'order' says '{number} {name}', which holds 'number'; it has name",
        ),
        (("slots.order", {"object": {"name": "title"}}), "object and say belong together"),
        (
            ("slots.shelf", {"number": {"min": 1, "max": 3, "step": 0.5}}),
            "takes 'shelf' from slot 'shelf', and its schema refuses what is there: 1 is not of type \"string\"",
        ),
        (("tools.2.action", {"list": "books", "where": {"shelf": "shelf"}}), "list needs columns"),
    ],
)
def test_other_faults_of_a_pack_are_told(tmp_path: Path, change: tuple[str, Any], sentence: str) -> None:
    with pytest.raises(Fault) as fault:
        read_pack(write_pack(tmp_path, change))
    assert sentence in str(fault.value)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            ("tools.0.parameters.properties.title", {"default": date(2026, 1, 1)}),
            "is nothing that JSON has; put it in quotes",
        ),
        (
            ("tools.0.parameters.properties", {True: {"type": "string"}}),
            "True is nothing that JSON has; put it in quotes",
        ),
        (
            ("slots.copies", {"number": {"min": 0, "max": 1e308, "step": 1e-300}}),
            "there are more than 1,000,000,000 steps",
        ),
        (("slots.copies", {"number": {"min": 0, "max": float("inf"), "step": 1}}), "input should be a finite number"),
        (("slots.title", {"list": "authors"}), "slot 'title' lists 'authors', which is a list itself; name another"),
        (("tables.sqlite_x", {"a": "text"}), "table 'sqlite_x' has a name that SQLite keeps for itself; rename it"),
        (("tables.Books", {"a": "text"}), "tables 'books' and 'Books' differ in case alone, which SQLite does not see"),
        (("tables.books.Title", "text"), "table 'books' has columns that differ in case alone; rename one"),
        (
            ("tools.1.given.row", {"title": {"param": "title"}}),
            "tells column 'shelf', which given leaves empty; fill it",
        ),
        (
            ("joiners", both(halves(["{a}{b}{c}"], ["{a}{b}"]), halves(["{a} {b}"], ["{A} {b}"]))),
            "has none for two requests",
        ),
    ],
)
def test_what_would_fail_later_is_told_when_the_pack_is_read(tmp_path: Path, change: Any, sentence: str) -> None:
    with pytest.raises(Fault) as fault:
        read_pack(write_pack(tmp_path, change))
    assert sentence in str(fault.value)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ("extra: &a [*a]", "this holds itself, by an alias (*name); write it out"),
        ("? [1, 2]\n: 3", "not YAML: found unhashable key"),
        (
            "extra:\n  a: &a [x,x,x,x,x,x,x,x,x]\n"
            + "".join(f"  {b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in pairwise("abcdefghi")),
            "with its aliases written out it has over 500,000 values; no pack has",
        ),
    ],
)
def test_a_yaml_bomb_is_a_sentence(tmp_path: Path, more: str, sentence: str) -> None:
    path = write_pack(tmp_path)
    path.write_text(f"{path.read_text(encoding='utf-8')}\n{more}\n", encoding="utf-8")
    with pytest.raises(Fault) as fault:
        read_pack(path)
    assert sentence in str(fault.value)


def test_an_object_slot_fits_its_schema_or_is_told_why_not(tmp_path: Path) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "shelf": {"type": "string"}},
        "required": ["name"],
    }
    slot = {
        "object": {"name": "title", "shelf": "shelf"},
        "say": both("{shelf}的{name}", ["{name} on {shelf}", "{name}"]),
    }
    parameters = {
        "type": "object",
        "properties": {"shelf": {"type": "string"}, "book": schema},
        "required": ["shelf"],
        "additionalProperties": False,
    }
    changes = [("tools.2.parameters", parameters), ("slots.book", slot)]
    read_pack(write_pack(tmp_path, *deepcopy(changes)))
    for change, why in (
        (("tools.2.parameters.properties.book.type", "array"), "an object is not of type 'array'"),
        (
            ("tools.2.parameters.properties.book.required", ["shelf"]),
            "'shelf' is a required property, which '{name}' leaves",
        ),
        (("tools.2.parameters.properties.book.properties", {"name": {"type": "string"}}), "it has no property 'shelf'"),
        (
            ("tools.2.parameters.properties.book.properties.name.type", "integer"),
            'name: "紅樓夢" is not of type "integer"',
        ),
    ):
        with pytest.raises(Fault) as fault:
            read_pack(write_pack(tmp_path, *deepcopy(changes), change))
        assert why in str(fault.value)


def test_two_packs_cannot_have_a_tool_of_one_name(tmp_path: Path) -> None:
    path = write_pack(tmp_path)
    text = path.read_text(encoding="utf-8").replace("pack: library", "pack: archive")
    (tmp_path / "archive.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(Fault, match=r"archive\.yaml: tool 'add_book' stands in .*library\.yaml too; rename one"):
        read_packs(["library", "archive"], tmp_path)


def test_lacking_reads_what_generating_refuses(tmp_path: Path) -> None:
    pack, told = lacking(write_pack(tmp_path, ("joiners", empty())))
    assert pack.pack == "library"
    assert any(
        "joiners in zh-TW has too few texts (0 of 3 for train, 0 of 1 for test)" in sentence for sentence in told
    )
