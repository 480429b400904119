"""A pack skeleton as YAML, with remarks beside what a person has to fill in.

    - name: get_weather   # is called 'get-weather' at its source
      phrasings:
        zh-TW: {train: [], test: []}

All quoting is ruamel.yaml's; what PyYAML, which reads packs, would take for another type is quoted for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callwright.outs import whole_file
from callwright.tool_sources.found import Note
from callwright.tool_sources.skeleton import MadePack

if TYPE_CHECKING:
    from ruamel.yaml import YAML

_WORDS = re.compile(r"[^\W\d](?:[\w -]*\w)?")

LONGEST = 100
"""Characters of a remark."""


def write_pack(path: Path, made: MadePack, notes: Iterable[Note], source: str) -> None:
    """Write it whole or not at all; `Fault` where the disk refuses."""
    head = (
        f"Made by `callwright tools import` from {_line(source)}. What is empty is for a person to fill in, "
        "or `callwright pack draft`:\n"
        f"`callwright pack check {_line(path.name)}` lists it, docs/packs.md has the shape."
    )
    document = _node(made.pack)
    document.yaml_set_start_comment(head)
    told: dict[str, list[str]] = {}
    for note in notes:
        told.setdefault(note.name, []).append(note.what)
    for tool in document["tools"]:
        if said := told.get(str(tool["name"])):
            tool.yaml_add_eol_comment(f"# {_line('; '.join(said), cut=False)}", "name")
    for name, remark in made.remarks.items():
        document["slots"].yaml_add_eol_comment(f"# to fill in: {_line(remark)}", name)
    with whole_file(path) as aside, aside.open("w", encoding="utf-8", newline="\n") as file:
        _writer().dump(document, file)


def _node(value: Any) -> Any:
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    if isinstance(value, dict):
        mapping = CommentedMap((_text(key), _node(inner)) for key, inner in value.items())
        if all(_small(inner) for inner in value.values()):
            mapping.fa.set_flow_style()
        return mapping
    if isinstance(value, list | tuple):
        sequence = CommentedSeq(_node(inner) for inner in value)
        if all(not isinstance(inner, dict | list) or (_leaf(inner) and len(inner) > 1) for inner in value):
            sequence.fa.set_flow_style()
        return sequence
    return _text(value) if isinstance(value, str) else value


def _small(value: Any) -> bool:
    """Whether a value fits on its key's line: no mapping, and lists only of what is no list or mapping itself."""
    if isinstance(value, dict):
        return not value
    return not isinstance(value, list) or all(not isinstance(inner, dict | list) for inner in value)


def _leaf(value: Any) -> bool:
    return isinstance(value, dict) and all(_small(inner) for inner in value.values())


def _text(value: str) -> str:
    """Quoted unless it is words that PyYAML reads as words: YAML 1.1 has more that is no text than ruamel's 1.2."""
    import yaml
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    others = yaml.SafeLoader.yaml_implicit_resolvers.get(value[:1], [])
    if _WORDS.fullmatch(value) and not any(pattern.match(value) for _, pattern in others):
        return value
    quoted: str = DoubleQuotedScalarString(value)
    return quoted


def _writer() -> YAML:
    """A writer that makes no aliases, folds no line and writes 1e-09 as YAML 1.1 reads it."""
    from ruamel.yaml import YAML
    from ruamel.yaml.representer import RoundTripRepresenter

    class _Representer(RoundTripRepresenter):
        def ignore_aliases(self, data: Any) -> bool:
            return True

        def float(self, data: float) -> Any:
            text = repr(data)
            dotted = text if "." in text else text.replace("e", ".0e")
            return self.represent_scalar("tag:yaml.org,2002:float", dotted)

    _Representer.add_representer(float, _Representer.float)
    writer = YAML()
    writer.Representer = _Representer
    writer.width = 1 << 20  # a folded line would break a remark
    writer.indent(mapping=2, sequence=4, offset=2)
    return writer


def _line(text: str, *, cut: bool = True) -> str:
    """On one line, whatever it is: a remark must not become YAML."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if not cut or len(line) <= LONGEST else line[: LONGEST - 1] + "…"
