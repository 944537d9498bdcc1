"""A sentence cut into words, numbers and marks, each with its place.

Letters are lower-cased, hyphens part words (``time-to-collision``), short forms are written out
(``doesn't``: does not), and what is said of numbers and units in words is read as digits would be:
``half a second``, ``50 kilometres per hour``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mining.query.tree import Place
from mining.query.units import SI

_TOKEN = re.compile(
    r"""
    (?P<quoted>["“][^"”\n]*["”])
    | (?P<number>[-−]?\d+(?:\.\d+)?)
    | (?P<unit>(?:[A-Za-z]+/[A-Za-z]+(?:\^?[23]|[²³])?) | ° (?:/s)? | %)
    | (?P<word>[^\W\d]\w*)
    | (?P<short>['’][A-Za-z]+)
    | (?P<mark>[^\w\s])
    """,
    re.VERBOSE,
)
_SHORT = {
    "doesn": "does", "don": "do", "didn": "did", "isn": "is", "aren": "are", "wasn": "was",
    "weren": "were", "hasn": "has", "haven": "have", "hadn": "had",
}  # fmt: skip
_IS = {"it", "he", "she", "that", "who", "there"}
_ARE = {"they", "we"}
_SILENT = {"-", "–", "‑", "!", "?"}  # between the parts of a word, and at the end of a sentence

_NUMBERS = {
    "zero": 0.0, "one": 1.0, "two": 2.0, "three": 3.0, "four": 4.0, "five": 5.0, "six": 6.0,
    "seven": 7.0, "eight": 8.0, "nine": 9.0, "ten": 10.0, "eleven": 11.0, "twelve": 12.0,
    "thirteen": 13.0, "fourteen": 14.0, "fifteen": 15.0, "sixteen": 16.0, "seventeen": 17.0,
    "eighteen": 18.0, "nineteen": 19.0, "twenty": 20.0, "thirty": 30.0, "forty": 40.0,
    "fifty": 50.0, "sixty": 60.0, "seventy": 70.0, "eighty": 80.0, "ninety": 90.0, "hundred": 100.0,
}  # fmt: skip

_UNITS: tuple[tuple[str, str], ...] = (
    ("(metres|meters|metre|meter) per second squared", "m/s2"),
    ("(metres|meters|metre|meter) per second cubed", "m/s3"),
    ("(metres|meters|metre|meter) per second", "m/s"),
    ("(kilometres|kilometers|kilometre|kilometer) per hour", "km/h"),
    ("(miles|mile) per hour", "mph"),
    ("(degrees|degree) per second", "deg/s"),
    ("(radians|radian) per second", "rad/s"),
    ("(kilometres|kilometers|kilometre|kilometer)", "km"),
    ("(metres|meters|metre|meter)", "m"),
    ("(centimetres|centimeters)", "cm"),
    ("(feet|foot)", "ft"),
    ("(seconds|second|secs|sec)", "s"),
    ("(milliseconds|millisecond)", "ms"),
    ("(minutes|minute|mins)", "min"),
    ("(degrees|degree)", "deg"),
    ("percent", "%"),
)
"""Units in words; those that begin alike, the longest first."""
_UNIT_WORDS = [(tuple(p.split()), unit) for p, unit in _UNITS]
UNIT_WORDS = frozenset(
    word for pattern, _ in _UNIT_WORDS for part in pattern for word in part.strip("()").split("|")
)


@dataclass(frozen=True, slots=True)
class Token:
    """A word, a number, a mark or a text in quotes.

    Attributes:
        word: In lower case; of a text in quotes, what stands in them.
        place: Where it stands in the sentence.
        number: Its value, if it is a number in digits.
        quoted: Whether it stood in quotes.
    """

    word: str
    place: Place
    number: float | None = None
    quoted: bool = False

    @property
    def is_mark(self) -> bool:
        """Whether it is no word, number or text."""
        return not self.quoted and self.number is None and not self.word[:1].isalpha()


def tokens_of(text: str) -> list[Token]:
    """The tokens of a sentence; every letter of it is in one, but blanks and hyphens."""
    found: list[Token] = []
    for match in _TOKEN.finditer(text):
        raw, place = match.group(), match.span()
        if match["quoted"]:
            found.append(Token(raw[1:-1], place, quoted=True))
        elif match["number"]:
            found.append(_number_token(raw, place, text))
        elif match["short"]:
            _write_out(found, raw[1:].lower(), place)
        elif raw not in _SILENT:
            found.append(Token(raw.lower(), place))
    return found


def _number_token(raw: str, place: Place, text: str) -> Token:
    joined = raw[0] in "-−" and place[0] > 0 and text[place[0] - 1].isalnum()  # "world-12"
    digits = raw.lstrip("-−")
    value = float(digits) * (1.0 if joined or digits == raw else -1.0)
    return Token(digits, place, value)


def _write_out(found: list[Token], ending: str, place: Place) -> None:
    before = found[-1] if found else None
    word = before.word if before else ""
    if before and ending == "t" and word.endswith("n") and word in _SHORT:
        whole = (before.place[0], place[1])
        found[-1:] = [Token(_SHORT[word], whole), Token("not", whole)]
    elif (ending == "s" and word in _IS) or (ending == "re" and word in _ARE):
        found.append(Token("is" if ending == "s" else "are", place))
    else:
        found.append(Token(f"'{ending}", place))


def number_at(tokens: Sequence[Token], i: int) -> tuple[float, int] | None:
    """The number that begins at a token, in digits or words, and the token after it."""
    if i >= len(tokens) or tokens[i].quoted:
        return None
    if (value := tokens[i].number) is not None:
        return value, i + 1
    words = [t.word for t in tokens[i : i + 5]]
    if words[:1] == ["half"]:
        return 0.5, i + (2 if words[1:2] in (["a"], ["an"]) else 1)
    if words[:2] == ["a", "hundred"]:
        return 100.0, i + 2
    if not words or words[0] not in _NUMBERS:
        return None
    total, j = _NUMBERS[words[0]], i + 1
    if total >= 20 and total < 100 and len(words) > 1 and 0 < _NUMBERS.get(words[1], 0) < 10:
        total, j = total + _NUMBERS[words[1]], j + 1
    if total < 10 and tokens[j : j + 1] and tokens[j].word == "hundred":
        total, j = total * 100, j + 1
    if [t.word for t in tokens[j : j + 3]] == ["and", "a", "half"]:
        total, j = total + 0.5, j + 3
    elif [t.word for t in tokens[j : j + 1]] == ["point"] and len(tokens) > j + 1:
        digit = _NUMBERS.get(tokens[j + 1].word)
        if digit is not None and digit < 10:
            total, j = total + digit / 10, j + 2
    return total, j


def unit_at(tokens: Sequence[Token], i: int) -> tuple[str, int] | None:
    """The unit that begins at a token, as queries write it, and the token after it."""
    for pattern, unit in _UNIT_WORDS:
        said = tokens[i : i + len(pattern)]
        if len(said) == len(pattern) and all(
            token.word in part.strip("()").split("|")
            for token, part in zip(said, pattern, strict=True)
        ):
            return unit, i + len(pattern)
    if i < len(tokens) and not tokens[i].quoted and tokens[i].word in SI:
        return tokens[i].word, i + 1
    return None
