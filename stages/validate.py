"""validate: generated rows and rows from outside -> accepted splits, rejects with their reasons, a report

    python -m stages.validate        reads data/generated/*.jsonl, data/sources/*.jsonl
                                     leaves data/validated/{train,dev,test,rejected}.jsonl and report.json

A reject is one line: {"code": "unknown_param", "message": "office-train-000042: …", "row": the row as it came}.
Every row comes out, once, on one side or the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callwright.answers import strict_json
from callwright.duplicates import Requests
from callwright.outs import to_json, whole_folder, write_lines
from callwright.packs import read_packs
from callwright.params import read_params
from callwright.records import BadRecord, Example, Split, read_example
from callwright.rules import Failure, Rules
from stages import _entry

GENERATED, SOURCES, OUT = Path("data/generated"), Path("data/sources"), Path("data/validated")


@dataclass(frozen=True, slots=True)
class Rejected:
    row: str
    """The line as it came."""
    code: str
    message: str


def validate(lines: Iterable[tuple[str, str]], rules: Rules, near: float) -> Iterator[Example | Rejected]:
    """Judge rows given as (place, line): test before dev before train, so that a row in both is rejected in training.

    What is read is also judged in that order, and what cannot be read first of all.
    """
    rows: list[tuple[str, Example]] = []
    for place, line in lines:
        try:
            rows.append((line, _read(line)))
        except BadRecord as error:
            yield Rejected(line, "bad_json", f"{place}: {error}")
    seen = {split: Requests(near) for split in Split}
    ids: set[str] = set()
    order = [Split.TEST, Split.DEV, Split.TRAIN]
    for line, row in sorted(rows, key=lambda pair: order.index(pair[1].split)):
        failure = rules.first_failure(row) or _twin(row, seen, ids)
        if failure:
            yield Rejected(line, failure.code, failure.message)
        else:
            seen[row.split].add(row)
            ids.add(row.id)
            yield row


def _read(line: str) -> Example:
    try:
        value = strict_json(line)
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"not JSON: {error}") from error
    row = read_example(value)
    if "#" in row.id:
        raise BadRecord(f"id is {row.id!r}; '#' is kept for the turns of a row")
    return row


def _twin(row: Example, seen: dict[Split, Requests], ids: set[str]) -> Failure | None:
    for split, requests in seen.items():
        if found := requests.twin(row):
            how = "the same request" if found.exact else f"nearly the same request ({found.similarity:.2f})"
            code = "duplicate" if found.exact else "near_duplicate"
            if split is Split.TEST and row.split is not Split.TEST:
                code = "contaminated"
            return Failure(code, f"{row.id}: {how} stands in {found.id}")
    if row.id in ids:  # answers are told apart by id
        return Failure("duplicate", f"{row.id}: another row has this id, with another request; give it one of its own")
    return None


def report(rows: Sequence[Example | Rejected]) -> dict[str, Any]:
    """Counts that a person wants to see before training."""
    accepted = [row for row in rows if isinstance(row, Example)]
    codes = Counter(row.code for row in rows if isinstance(row, Rejected))
    return {
        "rows": len(rows),
        "accepted": len(accepted),
        "rejected": len(rows) - len(accepted),
        "codes": dict(sorted(codes.items())),
        "splits": {str(split): _counts([row for row in accepted if row.split is split]) for split in Split},
    }


def _counts(rows: Sequence[Example]) -> dict[str, Any]:
    called = Counter(call.tool for row in rows for call in row.calls)
    return {
        "rows": len(rows),
        "by_category": dict(sorted(Counter(str(row.category) for row in rows).items())),
        "by_language": dict(sorted(Counter(str(row.language) for row in rows).items())),
        "tools_called": dict(sorted(called.items())),
    }


def read_rows(folders: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """Lines of all .jsonl files, with their places."""
    for folder in folders:
        for path in sorted(folder.glob("*.jsonl")):
            with path.open(encoding="utf-8", errors="surrogateescape") as file:
                for number, line in enumerate(file, start=1):
                    if line.strip():
                        yield f"{path}:{number}", line.rstrip("\n")


def main() -> None:
    params = read_params()
    rules = Rules(read_packs(params.generate.packs))
    rows = list(validate(read_rows([GENERATED, SOURCES]), rules, params.validate_.near_duplicate))
    with whole_folder(OUT) as folder:
        for split in Split:
            part = (row.to_json() for row in rows if isinstance(row, Example) and row.split is split)
            write_lines(folder / f"{split}.jsonl", part)
        rejects = [row for row in rows if isinstance(row, Rejected)]
        with (folder / "rejected.jsonl").open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(to_json({"code": r.code, "message": r.message, "row": r.row}) + "\n" for r in rejects)
        (folder / "report.json").write_text(to_json(report(rows), indent=2) + "\n", encoding="utf-8")
    print(f"validate: {len(rows) - len(rejects)} rows accepted, {len(rejects)} rejected (in {OUT / 'rejected.jsonl'})")
    for code, count in Counter(reject.code for reject in rejects).most_common():
        print(f"  {count} {code}, such as {next(r.message for r in rejects if r.code == code)}")


if __name__ == "__main__":
    _entry.run(main)
