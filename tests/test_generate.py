"""Rows from packs: the same for the same seed, in the shares asked for, and an exam that training never saw."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from callwright.duplicates import dense
from callwright.faults import Fault
from callwright.outs import read_lines
from callwright.pack_shape import PLACEHOLDER
from callwright.packs import Pack, read_packs
from callwright.params import Categories, Generate, Range, read_params
from callwright.records import Calls, Category, Example, Language, Reply, Result, Split, System, read_example
from callwright.replies import asks_for
from callwright.speech import plain
from stages import generate as stage
from tests.rows import made
from tests.small_pack import small_pack, write_pack

ROOT = Path(__file__).parent.parent
PARAMS = read_params(ROOT / "params.yaml").generate
PACKS = read_packs(PARAMS.packs, ROOT / "packs")
Rows = dict[Split, list[Example]]


def project(folder: Path) -> Path:
    shutil.copytree(ROOT / "packs", folder / "packs")
    shutil.copy(ROOT / "params.yaml", folder)
    (folder / "presets").symlink_to(ROOT / "presets")
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "data/generated").iterdir())}


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the stage's main has run."""
    folder = project(tmp_path_factory.mktemp("project"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        stage.main()
    return folder


@pytest.fixture(scope="module")
def rows(generated: Path) -> Rows:
    """What the stage wrote, read again as rows."""
    lines = {split: read_lines(generated / f"data/generated/{split}.jsonl") for split in Split}
    return {split: [read_example(line) for line in lines[split]] for split in Split}


def changed(**more: Any) -> Generate:
    return PARAMS.model_copy(update=more)


def is_unseen(row: Example) -> bool:
    return any(tool.name in PARAMS.held_out_tools for tool in row.tools)


def all_rows(rows: Rows) -> Iterable[Example]:
    return (row for split in rows.values() for row in split)


# Values


def test_a_moment_keeps_to_the_days_and_times_of_its_slot(rows: Rows) -> None:
    slot = PACKS[0].slots["when"]
    assert slot.days
    assert slot.times
    moments = [
        call.params["start_time"]
        for row in rows[Split.TRAIN]
        for message in row.messages
        if isinstance(message, Calls)
        for call in message.calls
        if "start_time" in call.params
    ]
    assert {moment[-5:] for moment in moments} == set(slot.times)
    assert {moment[:-6] for moment in moments} == set(slot.days)


def test_a_length_of_time_keeps_its_unit(rows: Rows) -> None:
    for row in all_rows(rows):
        for message in row.messages:
            for call in message.calls if isinstance(message, Calls) else ():
                if "duration_minutes" in call.params:
                    assert re.search("小時|分鐘|hour|minutes", row.request), row.request


# Same seed, same bytes


def test_the_same_params_give_the_same_bytes_whatever_the_process_hashes(generated: Path, tmp_path: Path) -> None:
    folder = project(tmp_path)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "1234", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "stages.generate"], cwd=folder, env=env, capture_output=True, text=True, check=True
    )
    assert files(folder) == files(generated)
    assert done.stdout.startswith(f"generate: {PARAMS.rows} train, {PARAMS.exam.dev.rows} dev, ")
    assert sorted(path.name for path in folder.iterdir()) == ["data", "packs", "params.yaml", "presets"]


def test_the_exam_stays_the_same_when_rows_and_seed_of_training_change(rows: Rows) -> None:
    moved = PARAMS.categories.single - 0.2
    shares = PARAMS.categories.model_copy(update={"single": 0.2, "parallel": PARAMS.categories.parallel + moved})
    for params in (
        changed(rows=700),
        changed(seed=8),
        changed(rows=50, rows_per_tool_list=1),
        changed(categories=shares),
        changed(zh_tw_share=0.6),
    ):
        other = made(PACKS, params)
        assert other[Split.TEST] == rows[Split.TEST]
        assert other[Split.DEV] == rows[Split.DEV]
        assert other[Split.TRAIN] != rows[Split.TRAIN]
        assert len(other[Split.TRAIN]) == params.rows


def test_another_seed_of_the_exam_is_another_exam(rows: Rows) -> None:
    test = PARAMS.exam.test.model_copy(update={"seed": 999})
    other = made(PACKS, changed(exam=PARAMS.exam.model_copy(update={"test": test})))
    assert {row.request for row in other[Split.TEST]} != {row.request for row in rows[Split.TEST]}


@pytest.mark.parametrize("count", [1, 7, 2000, 5000])
def test_any_number_of_training_rows_can_be_had(count: int) -> None:
    rows = made(PACKS, changed(rows=count))
    assert len(rows[Split.TRAIN]) == count
    requests = [dense(row) for row in all_rows(rows)]
    assert len(set(requests)) == len(requests)


# What a row is


def test_the_default_is_as_large_as_the_issue_asks(rows: Rows) -> None:
    assert len(rows[Split.TRAIN]) == PARAMS.rows >= 500
    test = rows[Split.TEST]
    seen = [row for row in test if not is_unseen(row)]
    assert len(test) >= 160
    assert len(seen) >= 100
    assert sum(row.language is Language.ZH_TW for row in seen) >= 40
    assert len(test) - len(seen) == PARAMS.exam.unseen.rows


def test_splits_and_ids_say_what_they_are(rows: Rows) -> None:
    assert all(row.split is split for split, found in rows.items() for row in found)
    ids = [row.id for row in all_rows(rows)]
    assert len(set(ids)) == len(ids)


def test_languages_and_categories_have_the_shares_asked_for(rows: Rows) -> None:
    """Of training, and of the exam, whose shares are its own."""
    unseen = [row for row in rows[Split.TEST] if is_unseen(row)]
    seen = [row for row in rows[Split.TEST] if not is_unseen(row)]
    for found in (rows[Split.TRAIN], rows[Split.DEV], seen, unseen):
        shares = PARAMS if found is rows[Split.TRAIN] else PARAMS.exam
        zh = sum(row.language is Language.ZH_TW for row in found) / len(found)
        assert zh == pytest.approx(shares.zh_tw_share, abs=5 / len(found))
        counts = Counter(row.category for row in found)
        for category, share in shares.categories.shares().items():
            assert counts[category] / len(found) == pytest.approx(share, abs=2 / len(found)), category


def test_the_shares_of_the_default_are_those_of_the_issue() -> None:
    assert 0.4 <= PARAMS.zh_tw_share <= 0.6
    assert 0.4 <= PARAMS.exam.zh_tw_share <= 0.6
    for shares in (PARAMS.categories.shares(), PARAMS.exam.categories.shares()):
        assert shares[Category.SINGLE] <= 0.4
        assert all(share >= 0.1 or share == 0.0 for share in shares.values())


def test_three_to_six_tools_are_offered_each_once(rows: Rows) -> None:
    sizes = set()
    for row in all_rows(rows):
        names = [tool.name for tool in row.tools]
        assert len(set(names)) == len(names)
        sizes.add(len(names))
    assert sizes == set(range(PARAMS.tools_offered.min, PARAMS.tools_offered.max + 1)) == {3, 4, 5, 6}


def test_the_calls_of_a_row_are_of_its_category_and_of_tools_it_offers(rows: Rows) -> None:
    for row in all_rows(rows):
        offered = {tool.name: tool for tool in row.tools}
        for call in row.calls:
            tool = offered[call.tool]
            assert set(tool.required) <= set(call.params) <= set(tool.properties)
        last = row.messages[-1]
        match row.category:
            case Category.SINGLE:
                assert isinstance(last, Calls)
                assert len(last.calls) == 1
            case Category.PARALLEL:
                assert isinstance(last, Calls)
                assert len({call.tool for call in last.calls}) == 2
            case Category.MISSING:
                assert isinstance(last, Reply)
                assert not row.calls
                assert asks_for(last.content, last.asks)
            case Category.NO_TOOL:
                assert isinstance(last, Reply)
                assert not row.calls
                assert not {"?", "？"} & set(last.content)
            case Category.FULL_LOOP:
                result = row.messages[-2]
                assert isinstance(last, Reply)
                assert isinstance(result, Result)
                assert result.facts
                assert all(fact in last.content and fact in result.content for fact in result.facts)


def test_no_placeholder_is_left_in_any_text(rows: Rows) -> None:
    for row in all_rows(rows):
        for message in row.messages:
            assert not PLACEHOLDER.search(getattr(message, "content", "")), row.id


def test_calls_hold_no_absolute_dates(rows: Rows) -> None:
    values = json.dumps([call.to_json() for row in all_rows(rows) for call in row.calls])
    assert not re.search(r"20\d\d-\d\d", values)


def test_rows_after_one_another_share_their_list_of_tools(rows: Rows) -> None:
    """Of training: in the exam each row has its own."""
    lists = Counter(json.dumps([tool.to_json() for tool in row.tools]) for row in rows[Split.TRAIN])
    assert len(lists) <= 1.2 * PARAMS.rows / PARAMS.rows_per_tool_list
    exam = Counter(json.dumps([tool.to_json() for tool in row.tools]) for row in rows[Split.TEST])
    assert len(exam) > 0.9 * len(rows[Split.TEST])


@pytest.mark.parametrize("voices", [1, 3])
def test_an_assistant_has_one_voice(voices: int) -> None:
    """Under one opening all refusals are in the same words, and there are as many openings as asked for."""
    said: dict[tuple[str, str], set[str]] = {}
    declines = {text for pack in PACKS for language in Language for text in pack.declines[language].train}
    for row in made(PACKS, changed(voices=voices))[Split.TRAIN]:
        opening, last = row.messages[0], row.messages[-1]
        assert isinstance(opening, System)
        texts = said.setdefault((row.language, opening.content), set())
        if isinstance(last, Reply) and last.content in declines:
            texts.add(last.content)
    assert len(said) == len(Language) * voices
    assert all(len(texts) == 1 for texts in said.values())
    assert len({text for texts in said.values() for text in texts}) == len(said)


# The exam and training


def test_no_request_stands_twice_in_any_split(rows: Rows) -> None:
    requests = [plain(row.request) for row in all_rows(rows)]
    assert len(set(requests)) == len(requests)


def test_held_out_tools_are_offered_in_their_own_test_rows_only(rows: Rows) -> None:
    assert not any(is_unseen(row) for split in (Split.TRAIN, Split.DEV) for row in rows[split])
    for row in rows[Split.TEST]:
        assert is_unseen(row) == ("-unseen-" in row.id)


def test_the_pack_has_twelve_tools_and_all_are_asked_about_those_held_out_in_the_test_only(rows: Rows) -> None:
    called = {call.tool for row in rows[Split.TRAIN] for call in row.calls}
    unseen = {call.tool for row in rows[Split.TEST] for call in row.calls} - called
    assert called | unseen == {tool.name for pack in PACKS for tool in pack.tools}
    assert len(called | unseen) >= 12
    assert {"query_database", "add_calendar_event"} < called
    assert unseen == set(PARAMS.held_out_tools)
    assert len(unseen) >= 3


def as_pattern(phrasing: str) -> re.Pattern[str]:
    """What a phrasing may become: anything at its placeholders."""
    words = [re.escape(plain(part)).replace(r"\ ", r"\s*") for part in PLACEHOLDER.split(phrasing)[::2]]
    return re.compile(r"\s*.+\s*".join(words))


def test_no_test_phrasing_stands_in_training(rows: Rows) -> None:
    requests = [plain(row.request) for split in (Split.TRAIN, Split.DEV) for row in rows[split]]
    tested = 0
    for tool in (tool for pack in PACKS for tool in pack.tools):
        for language in Language:
            texts = [*tool.phrasings[language].test, *tool.clauses[language].test]
            texts += [text for missing in tool.missing.values() for text in missing[language].test]
            for text in texts:
                pattern = as_pattern(text)
                assert not any(pattern.fullmatch(request) for request in requests), text
                tested += 1
    assert tested > 200


def free_values(rows: Iterable[Example]) -> set[str]:
    """The titles, names and topics that rows ask with, as their calls and sources hold them."""
    found: set[str] = set()
    for row in rows:
        tools = {tool.name: tool for pack in PACKS for tool in pack.tools}
        pack = PACKS[0]
        for call in row.calls:
            for param, value in call.params.items():
                slot = pack.slots[tools[call.tool].slot_of(param)]
                if (pack.slots[slot.list] if slot.list else slot).free:
                    found.update(plain(part) for part in (value if isinstance(value, list) else [value]))
    return found


def test_free_values_of_the_test_stand_in_no_training_row(rows: Rows) -> None:
    """As the rows themselves tell; in their calls, and inside no text of a user or an assistant either."""
    tested = free_values(rows[Split.TEST])
    training = [*rows[Split.TRAIN], *rows[Split.DEV]]
    assert len(tested) > 80
    assert not tested & free_values(training)
    held = [plain(json.dumps(row.source["values"], ensure_ascii=False)) for row in training]
    assert not [value for value in tested for text in held if f'"{value}"' in text]


def test_free_values_of_the_test_stand_in_no_training_words_of_the_packs() -> None:
    for pack in PACKS:
        halves: dict[bool, set[str]] = {False: set(), True: set()}
        for slot in (slot for slot in pack.slots.values() if slot.free):
            for language in Language:
                for test in halves:
                    halves[test] |= {plain(word.say) for word in slot.words(language).of(test)}
        assert len(halves[True]) > 80
        assert not halves[True] & halves[False]


# Bad input


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        (changed(held_out_tools=["fly"]), "generate.held_out_tools names 'fly', which no pack has; packs have add_"),
        (changed(held_out_tools=[]), "generate.held_out_tools is empty; name at least one"),
        (
            changed(tools_offered=Range(min=3, max=99, rarer=2.0)),
            "generate.tools_offered.max is 99, but packs/office.yaml has only ",
        ),
    ],
)
def test_held_out_tools_that_cannot_be_are_a_sentence(params: Generate, sentence: str) -> None:
    with pytest.raises(Fault) as fault:
        made(PACKS, params)
    assert str(fault.value).startswith(f"params.yaml: {sentence}")


def few(**more: Any) -> Generate:
    """So few rows of each split that the small pack can phrase them."""
    exam = {name: getattr(PARAMS.exam, name).model_copy(update={"rows": 4}) for name in ("dev", "test", "unseen")}
    offered = {"tools_offered": Range(min=2, max=3, rarer=2.0), "rows": 6}
    shares = Categories(single=0.5, parallel=0.2, chained=0.0, missing=0.1, no_tool=0.1, full_loop=0.1, tool_error=0.0)
    return changed(**offered, **more, categories=shares, exam=PARAMS.exam.model_copy(update=exam))


ASKS_WHERE = {
    "zh-TW": {"train": ["把{title}搬走"], "test": ["{title}要換架"], "questions": ["搬到哪裡?"], "words": ["哪裡"]},
    "en": {
        "train": ["Move {title}."],
        "test": ["{title} has to move."],
        "questions": ["Where to?"],
        "words": ["where"],
    },
}
LIBRARY = Pack.model_validate(small_pack(("tools.3.missing", {"shelf": ASKS_WHERE})))


def test_tools_without_missing_cannot_be_the_only_ones_held_out() -> None:
    with pytest.raises(Fault, match="hardly any of its held-out tools has `missing`; add it to some"):
        made([LIBRARY], few(held_out_tools=["count_books"]))


def test_a_pack_that_runs_out_of_requests_says_so_and_how_many_there_were() -> None:
    with pytest.raises(Fault, match=r"packs/library\.yaml: 900 rows need more \w+ requests in .* than it can phrase"):
        made([LIBRARY], few(held_out_tools=["add_book"]).model_copy(update={"rows": 900}))


def test_one_held_out_tool_is_enough_and_other_packs_need_none() -> None:
    rows = made([LIBRARY, *PACKS], few(held_out_tools=["add_book"]).model_copy(update={"rows": 40}))
    unseen = [row for row in rows[Split.TEST] if "-unseen-" in row.id]
    assert {row.source["pack"] for row in unseen} == {"library"}
    assert {row.source["pack"] for row in rows[Split.TRAIN]} == {"library", "office"}


def test_a_faulty_pack_ends_the_stage_with_2_and_writes_nothing(tmp_path: Path) -> None:
    folder = project(tmp_path)
    path = write_pack(folder / "packs", ("tools.1.phrasings.en.train.0", "find {title} by {isbn}"))
    text = (folder / "params.yaml").read_text(encoding="utf-8")
    (folder / "params.yaml").write_text(text.replace("packs: [office]", "packs: [office, library]"), encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "stages.generate"], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    number = path.read_text(encoding="utf-8").splitlines().index("      - find {title} by {isbn}") + 1
    assert done.returncode == 2
    assert done.stderr == (
        f"packs/library.yaml:{number}: tool 'find_book' has no parameter 'isbn', "
        "which 'find {title} by {isbn}' fills; it has title\n"
    )
    assert not (folder / "data").exists()
