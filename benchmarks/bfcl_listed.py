"""The ways in which our verdict on an answer to BFCL is another than its own checker's, each with the reason for ours.

find("a point inside a number", ours=False)     ->  Listed("signs inside a text", …)
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Listed:
    way: str
    ours: bool
    """Whether such an answer is right for us; for BFCL's checker it is the other."""
    mutants: tuple[str, ...]
    """Changes of `bfcl_mutants`, or texts of `bfcl_differences`, that lead here."""
    why: str


LISTED = (
    Listed(
        "signs inside a text",
        False,
        (
            "a full stop at the end",
            "a hyphen for a space",
            "a minus left out",
            "a point inside a number",
            "commas left out",
            "slashes left out",
            "spaces left out",
        ),
        'BFCL takes ` ,./-_*^` out of every text, so "1.5" is "15", "-5" is "5" and C:/data is C:data. Here a mark is '
        "passed over only at a word's end, where it changes no meaning, and never in a date or an address.",
    ),
    Listed(
        "an enum in other letters",
        False,
        ("upper case, enum", "one call for all"),
        "BFCL does not look at enums. The tool takes its own spellings and no others: FASTEST would be refused, and "
        "the genotypes AA and Aa are two.",
    ),
    Listed(
        "an empty text that is no value of the enum",
        False,
        ("empty text", "an empty text given", "the default given"),
        'In BFCL\'s files "" says that a parameter may be left out, and its checker takes "" as a value as well. The '
        "tool would refuse it.",
    ),
    Listed(
        "a double quote for a single one inside a text",
        False,
        ("double quotes for single",),
        "BFCL makes every ' a \". Inside a text they are two signs: It\"s is not It's.",
    ),
    Listed(
        "a number for a boolean in an object",
        False,
        ("a boolean as a number",),
        "BFCL compares the values of an object as Python does, where 1 == True. In JSON 1 and true are two values.",
    ),
    Listed(
        "a number by its value",
        True,
        ("a float for an integer", "a float for an integer, inside", "an integer for a float, inside"),
        "BFCL compares Python's types: 10.0 is no integer, and 5 no float in a list. JSON has one kind of number, and "
        "JSON Schema takes 10.0 for an integer.",
    ),
    Listed(
        "other signs that are the same to people",
        True,
        ("full-width letters", "quotes around", "臺 for 台"),
        "Text is compared after NFKC, with 臺 as 台, and without quotes around the whole. BFCL knows case and its own "
        "signs only.",
    ),
    Listed(
        "a time in another spelling",
        True,
        ("another spelling of a time",),
        "7:00pm is 19:00. A moment is compared by what it means; BFCL compares its letters.",
    ),
    Listed(
        "a default that is given or left out",
        True,
        (
            "the default given",
            "null given",
            "an empty text given",
            "another parameter left out",
            "a key less in an object",
        ),
        "A parameter that has its schema's default is the same call with and without it. BFCL's files list that for "
        "most parameters and forget it for some.",
    ),
    Listed(
        "text that BFCL compares to the letter",
        True,
        ("upper case", "a full stop at the end", "two spaces for one"),
        "BFCL passes case and marks over in a text, but not in a list inside an object, nor where its answer is a text "
        "against the schema. Here a text is compared in the same way wherever it stands.",
    ),
    Listed(
        "calls in another order",
        True,
        ("calls in reverse",),
        "BFCL gives each of its answers the first call that fits, and so may take the one that another answer needs. "
        "Here as many as possible are matched.",
    ),
    Listed(
        "an answer that is neither calls nor text",
        False,
        ("half a call", "calls in another form", "nothing"),
        "Where nothing is to be called, BFCL counts whatever it cannot decode as right. Here a broken call never is.",
    ),
)


def find(mutant: str, *, ours: bool) -> Listed | None:
    return next((one for one in LISTED if one.ours is ours and mutant in one.mutants), None)
