r"""From text to a query.

The grammar, loosest binding first:

.. code-block:: text

    query    := or ["unknown" "as" ("true" | "false")]
    or       := and ("or" and)*
    and      := order ("and" order)*
    order    := not (("then" | "before") not ["within" time] | ("during" | "overlaps") not)*
    not      := ("not" | "never" | "always") not | atom ["for" "at" ("least" | "most") time]
    atom     := "(" or ")" | call | fact | similar | count
    call     := name "(" [actor ("," actor)*] ")" [compare]
    actor    := [class] variable | "ego" | "_"
    fact     := name "is" ["not"] word | name "in" "(" word ("," word)* ")" | name compare
    similar  := "similar" "to" scene [compare]
    count    := "count" "(" [actor "where"] or ")" compare ["at" "once" | "within" time]
    compare  := ("<" | "<=" | ">" | ">=" | "=" | "!=") number [unit]

``never A`` is ``count(A) = 0``, ``always A`` is ``never not A``: both hold throughout the scene or not
at all. Comments run from ``#`` to the end of the line. Mistakes are told with their place and what to do.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import Any, NoReturn

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken, VisitError

from mining.query.mistakes import BadExpression
from mining.query.tree import (
    Actor,
    And,
    Call,
    Compare,
    Count,
    Fact,
    Lasting,
    Node,
    Not,
    Or,
    Order,
    Place,
    Query,
    Sequence,
    Similar,
)
from mining.query.units import SI

WORDS = frozenset({
    "and", "or", "not", "never", "always", "then", "before", "during", "overlaps", "within", "for",
    "at", "least", "most", "count", "where", "once", "similar", "to", "is", "in", "unknown", "as",
    "true", "false",
})  # fmt: skip
"""Words of the language, which name nobody."""

DEFAULT_COSINE = 0.8
"""How near a scene's vector must be to count as similar, where the query does not say."""

LONGEST = 20_000
"""[characters] A longer text is no query."""

_GRAMMAR = r"""
query: or_ unknown?
unknown: "unknown" "as" (TRUE | FALSE)
?or_: and_ ("or" and_)*
?and_: order ("and" order)*
?order: not_
      | order (THEN | BEFORE) not_ within?  -> sequence
      | order (DURING | OVERLAPS) not_      -> sequence
within: "within" quantity
?not_: "not" not_ -> denied
     | "never" not_ -> never
     | "always" not_ -> always
     | atom
     | atom "for" "at" (LEAST | MOST) quantity -> lasts
?atom: "(" or_ ")" -> bracket
     | call | fact | similar | count
call: NAME "(" (actor ("," actor)*)? ")" compare?
actor: NAME | NAME NAME
fact: NAME "is" word             -> is_
    | NAME "is" "not" word       -> is_not
    | NAME "in" "(" word ("," word)* ")" -> in_
    | NAME compare               -> measures
word: NAME | STRING
similar: "similar" "to" scene compare?
scene: INTEGER | STRING | NAME
count: "count" "(" counted_of or_ ")" compare how? -> count_of
     | "count" "(" or_ ")" compare how?            -> count_times
counted_of: actor "where"
how: "at" "once" -> at_once
   | within
compare: OPERATOR number UNIT?
quantity: number UNIT?
number: SIGN? (INTEGER | DECIMAL)
THEN: "then"
BEFORE: "before"
DURING: "during"
OVERLAPS: "overlaps"
LEAST: "least"
MOST: "most"
TRUE: "true"
FALSE: "false"
OPERATOR: "<=" | ">=" | "==" | "!=" | "<" | ">" | "="
SIGN: "-" | "+"
INTEGER.2: /\d+(?![\d.]|[eE][-+]?\d)/
DECIMAL.2: /\d*\.\d+([eE][-+]?\d+)?|\d+\.?([eE][-+]?\d+)?/
UNIT: /(m\/s\^?[23]|m\/s[²³]|m\/s|km\/h|rad\/s|deg\/s|°\/s|°|%|s\^?2|s²|[a-zA-Z]+)(?![\w])/
NAME: /[A-Za-z_]\w*/
STRING: /"[^"\x00-\x1f]*"/
COMMENT: /#[^\n]*/
%import common.WS
%ignore WS
%ignore COMMENT
"""


def parse(text: str) -> Query:
    """The query that a text says; see :mod:`mining.query.check` for what is looked at next.

    Raises:
        BadExpression: It is not one, with the place and what to do.
    """
    if len(text) > LONGEST:
        raise BadExpression(
            text[:80], (0, 80), f"This text of {len(text):,} characters is no query",
            hint=f"A query has at most {LONGEST:,}: save parts of it as rules.",
        )  # fmt: skip
    try:
        return _Tree(text).transform(_parser().parse(text))
    except RecursionError:
        raise BadExpression(
            text, (0, 1), "This is nested too deeply", hint="Save parts of it as rules."
        ) from None
    except VisitError as error:
        if isinstance(error.orig_exc, BadExpression):
            raise error.orig_exc from None
        raise
    except UnexpectedInput as error:
        _misread(text, error)


@functools.cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", start="query", propagate_positions=True)


@v_args(meta=True)
class _Tree(Transformer[Token, Any]):
    """Makes the nodes of what the grammar found."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def query(self, meta: Any, parts: list[Any]) -> Query:
        del meta
        return Query(parts[0], len(parts) > 1 and parts[1], self._text)

    def unknown(self, meta: Any, parts: list[Token]) -> bool:
        del meta
        return parts[0] == "true"

    def or_(self, meta: Any, parts: list[Node]) -> Node:
        return parts[0] if len(parts) == 1 else Or(*parts, place=_place(meta))

    def and_(self, meta: Any, parts: list[Node]) -> Node:
        return parts[0] if len(parts) == 1 else And(*parts, place=_place(meta))

    def bracket(self, meta: Any, parts: list[Node]) -> Node:
        del meta
        return parts[0]

    def denied(self, meta: Any, parts: list[Node]) -> Node:
        return Not(parts[0], place=_place(meta))

    def never(self, meta: Any, parts: list[Node]) -> Node:
        return Count(parts[0], Compare("=", 0.0), said="never", place=_place(meta))

    def always(self, meta: Any, parts: list[Node]) -> Node:
        denied = Not(parts[0], place=_place(meta))
        return Count(denied, Compare("=", 0.0), said="always", place=_place(meta))

    def sequence(self, meta: Any, parts: list[Any]) -> Node:
        first, said, second, *within = parts
        order: Order = said.value
        return Sequence(order, first, second, within[0] if within else None, place=_place(meta))

    def lasts(self, meta: Any, parts: list[Any]) -> Node:
        part, how, seconds = parts
        return Lasting(part, ">=" if how == "least" else "<=", seconds, place=_place(meta))

    def within(self, meta: Any, parts: list[float]) -> float:
        del meta
        return parts[0]

    def call(self, meta: Any, parts: list[Any]) -> Node:
        name, *rest = parts
        compare = rest.pop() if rest and isinstance(rest[-1], Compare) else None
        return Call(str(name), tuple(rest), compare, place=_place(meta))

    def actor(self, meta: Any, parts: list[Token]) -> Actor:
        *cls, name = map(str, parts)
        return Actor(name, cls[0] if cls else None, _place(meta))

    def is_(self, meta: Any, parts: list[Any]) -> Node:
        return Fact(str(parts[0]), (parts[1],), place=_place(meta))

    def is_not(self, meta: Any, parts: list[Any]) -> Node:
        return Not(self.is_(meta, parts), place=_place(meta))

    def in_(self, meta: Any, parts: list[Any]) -> Node:
        return Fact(str(parts[0]), tuple(parts[1:]), place=_place(meta))

    def measures(self, meta: Any, parts: list[Any]) -> Node:
        return Fact(str(parts[0]), (), parts[1], place=_place(meta))

    def word(self, meta: Any, parts: list[Token]) -> str:
        del meta
        return str(parts[0]).strip('"')

    scene = word

    def similar(self, meta: Any, parts: list[Any]) -> Node:
        compare = parts[1] if len(parts) > 1 else Compare(">=", DEFAULT_COSINE)
        return Similar(parts[0], compare, place=_place(meta))

    def count_of(self, meta: Any, parts: list[Any]) -> Node:
        whom, part, compare, *how = parts
        return self._count(meta, part, compare, whom, how)

    def count_times(self, meta: Any, parts: list[Any]) -> Node:
        part, compare, *how = parts
        return self._count(meta, part, compare, None, how)

    def _count(
        self, meta: Any, part: Node, compare: Compare, of: Actor | None, how: list[Any]
    ) -> Node:
        at_once = how == ["at once"]
        within = how[0] if how and not at_once else None
        return Count(part, compare, of, at_once, within, place=_place(meta))

    def counted_of(self, meta: Any, parts: list[Actor]) -> Actor:
        del meta
        return parts[0]

    def at_once(self, meta: Any, parts: list[Any]) -> str:
        del meta, parts
        return "at once"

    def how(self, meta: Any, parts: list[Any]) -> Any:
        del meta
        return parts[0]

    def compare(self, meta: Any, parts: list[Any]) -> Compare:
        op, number, *unit = parts
        op = "=" if op == "==" else str(op)
        return Compare(op, number, str(unit[0]) if unit else "", _place(meta))  # type: ignore[arg-type]

    def quantity(self, meta: Any, parts: list[Any]) -> float:
        """A time, in seconds."""
        number, *unit = parts
        place = _place(meta)
        if not unit:
            reason = f"{self._text[slice(*place)]} of what? A time needs its unit"
            raise BadExpression(
                self._text, place, reason, hint=f"Write {number:g} s, or ms or min."
            )
        kind, factor = SI.get(str(unit[0]), ("", 0.0))
        if kind != "s":
            raise BadExpression(
                self._text, place, f"`{unit[0]}` is no unit of time",
                hint=f"Write {number:g} s, or ms or min.",
            )  # fmt: skip
        return float(number * factor)

    def number(self, meta: Any, parts: list[Token]) -> float:
        del meta
        return float("".join(parts))


def _place(meta: Any) -> Place:
    return (meta.start_pos, meta.end_pos) if not meta.empty else (0, 0)


_SAID: dict[str, str] = {
    "NAME": "a name", "UNIT": "a unit", "INTEGER": "a number", "DECIMAL": "a number",
    "SIGN": "a number", "OPERATOR": "a comparison (<, <=, >, >=, =)", "STRING": "a text in quotes",
    "LPAR": "`(`", "RPAR": "`)`", "COMMA": "`,`", "$END": "the end",
    "<END-OF-FILE>": "the end",
}  # fmt: skip
_ALIAS = {
    "&&": "and", "&": "and", "||": "or", "|": "or", "!": "not", "~": "not", "->": "then",
    "∧": "and", "∨": "or", "¬": "not", "≤": "<=", "≥": ">=", "≠": "!=", "−": "-", "=<": "<=", "<>": "!=",
    "followed": "then", "while": "overlaps", "when": "overlaps", "less": "<", "more": ">",
}  # fmt: skip
"""What people write who think of another language, and what it is here."""
_TURNED = {"after": "before", "contains": "during"}
"""What is said the other way round here: `b after a` is `a before b`."""


_COMMENT = re.compile(r"#[^\n]*")
_WORD = re.compile(r'\w+|"[^"\n]{1,40}"?|&&|\|\||->|--|/\*')


def _misread(text: str, error: UnexpectedInput) -> NoReturn:
    """What is wrong where the text stops making sense."""
    at = error.pos_in_stream or 0
    if isinstance(error, UnexpectedToken) and error.token.type == "$END":
        at = len(text.rstrip())
    opened, extra = _brackets(text)
    expected: Iterable[str] = (
        getattr(error, "expected", None) or getattr(error, "allowed", None) or ()
    )
    if extra is not None and extra <= at:
        raise BadExpression(
            text, (extra, extra + 1), "This bracket closes nothing", hint="Leave it out."
        )
    if not _COMMENT.sub("", text).strip():
        raise BadExpression(text, (0, 0), "The query is empty", hint="Such as: hard_brake(ego)")
    rest = text[at:]
    word = _first_word(rest)
    if opened is not None and (not rest.strip() or word in ("then", "unknown")):
        raise BadExpression(
            text, (opened, opened + 1), "This bracket is never closed", hint="Add a `)`."
        )
    if not rest.strip():
        raise BadExpression(
            text, (at, at), "The query breaks off here", hint=_could(expected, opened)
        )
    place = (at, at + len(word))
    meant = _instead(text, at, word)
    if meant:
        raise BadExpression(text, place, f"`{word}` is not understood", hint=meant)
    if isinstance(error, UnexpectedCharacters) and not word.strip("_").isalnum():
        raise BadExpression(
            text, place, f"`{word}` is not understood", hint=_could(expected, opened)
        )
    raise BadExpression(text, place, f"`{word}` cannot stand here", hint=_could(expected, opened))


def _instead(text: str, at: int, word: str) -> str:
    """What to write instead of a word of some other language; empty if nobody knows."""
    if word == "," and text[:at][-1:].isdigit() and text[at + 1 : at + 2].isdigit():
        return "Decimals begin with a point: `1.5`."
    if word in ("<", ">") and text[:at][-1:] + word in _ALIAS:
        word = text[:at][-1:] + word
    if word == "unknown":
        return "`unknown as true` stands once, at the end of the query."
    if word in _TURNED:
        return f"Write `{_TURNED[word]}`, and the two the other way round."
    if word.isupper() and word.lower() in WORDS:
        return f"Write `{word.lower()}`."
    right = _ALIAS.get(word) or _ALIAS.get(word[:1] if not word[:1].isalnum() else word)
    return f"Write `{right}`." if right else ""


def _could(expected: Iterable[str], opened: int | None) -> str:
    names = [name for name in sorted(expected) if name != ("RPAR" if opened is None else "$END")]
    said = dict.fromkeys(_SAID.get(name, f"`{name.lower()}`") for name in names)
    return f"Expected: {', '.join(said)}." if said else ""


def _brackets(text: str) -> tuple[int | None, int | None]:
    """Where the last bracket opens that is never closed, and where the first closes nothing."""
    open_: list[int] = []
    quoted = False
    for place, letter in enumerate(text):
        if letter == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif letter == "(":
            open_.append(place)
        elif letter == ")":
            if not open_:
                return None, place
            open_.pop()
    return (open_[-1] if open_ else None), None


def _first_word(text: str) -> str:
    """The word that a text begins with: letters and digits, or else one sign."""
    found = _WORD.match(text)
    return found[0] if found else text[:1]
