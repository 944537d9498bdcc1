"""What is so of a whole scene: ``at night``, ``in rain or snow``, ``with more than 20 agents``."""

from __future__ import annotations

from mining.query.parse import DEFAULT_COSINE
from mining.query.tree import Call, Compare, Fact, Node, Not, Place, Similar
from mining.query.words import lexicon
from mining.query.words.phrases import Form, spelt
from mining.query.words.somebody import Somebody


class Scenes(Somebody):
    """Reads facts of scenes."""

    def fact(self, i: int) -> tuple[tuple[Node, ...], int] | None:
        """``at night``, ``not in the rain``, ``in rain or snow``, ``with more than 20 agents``."""
        if self.word(i) == "not":
            inner = None if self.word(i + 1) == "not" else self.fact(i + 1)
            if inner is None:
                return None
            facts, j = inner
            return tuple(Not(f, place=self.span(i, j)) for f in facts), j
        for found in (self.similar(i), self.amount(i), self.named(i)):
            if found is not None:
                self.reach(found[1])
                return (found[0],), found[1]
        told = self.plain_fact(i, "fact")
        if told is None:
            return None
        node, j = told
        while isinstance(node, Fact) and self.word(j) == "or":
            more = self.plain_fact(j + 1, "fact") or self.same_kind(i, j)
            if more is None or not isinstance(more[0], Fact) or more[0].name != node.name:
                break
            words = tuple(dict.fromkeys((*node.words, *more[0].words)))
            node, j = Fact(node.name, words, place=self.span(i, more[1])), more[1]
        self.reach(j)
        return (node,), j

    def same_kind(self, i: int, j: int) -> tuple[Node, int] | None:
        """The second of ``in rain or snow``: as if the words before `rain` stood before `snow`."""
        for before in (1, 2):
            lead = tuple(t.word for t in self.tokens[i : i + before])
            for (form, first), phrases in self.phrases.by_word.items():
                if form != "fact" or first != lead[0]:
                    continue
                for phrase in phrases:
                    rest = phrase.words[before:]
                    if phrase.words[:before] == lead and rest and self.said(j + 1, *rest):
                        end = j + 1 + len(rest)
                        return _fact_node(phrase.means, self.span(j + 1, end)), end
        return None

    def plain_fact(self, i: int, form: Form) -> tuple[Node, int] | None:
        """A fact, by a phrase of the lexicon."""
        for told, j in self.matches(form, i)[:1]:
            return _fact_node(told.means, self.span(i, j)), j
        return None

    def similar(self, i: int) -> tuple[Node, int] | None:
        """``like scene 12``, ``similar to scene 12 by at least 0.9``."""
        cosine: Compare | None = None
        j = i
        counted = self.compare(i)
        if counted is not None and self.word(counted[1]) == "similar":
            cosine, j = counted
        if self.said(j, "similar", "to"):
            j += 2
        elif self.word(j) == "like" and cosine is None:
            j += 1
        else:
            return None
        j += self.word(j) == "the"
        quoted = j < len(self.tokens) and self.tokens[j].quoted
        j -= quoted  # a name in quotes needs no `scene` before it
        if not (quoted or self.said(j, "scene")) or j + 1 >= len(self.tokens):
            self.reach(j)
            return None
        scene, j = self.name_at(j + 1)
        if cosine is None and self.word(j) in ("by", "with"):
            counted = self.compare(j + 1)
            if counted is not None and not counted[0].unit:
                cosine, j = counted
        told = cosine or Compare(">=", DEFAULT_COSINE)
        return Similar(scene, told, place=self.span(i, j)), j

    def amount(self, i: int) -> tuple[Node, int] | None:
        """``with more than 20 agents``, ``with a duration above 10 s``."""
        if self.word(i) not in ("with", "of", "having"):
            return None
        j = i + 1
        counted = self.compare(j) or self.quantity(j, ">=")
        if counted is None and self.word(j) == "no":
            counted = Compare("=", 0.0, "", self.span(j, j + 1)), j + 1
        if counted is not None:
            for name, nouns in lexicon.AMOUNTS.items():
                for noun in nouns:
                    if self.said(counted[1], *noun.split()):
                        end = counted[1] + len(noun.split())
                        return Fact(name, (), counted[0], place=self.span(i, end)), end
            return None
        j += self.word(j) in ("a", "an", "the")
        for name, nouns in lexicon.VALUES.items():
            for words in (w for noun in nouns for w in spelt(noun)):
                if self.said(j, *words):
                    k = j + len(words)
                    k += self.word(k) == "of"
                    compared = self.compare(k)
                    if compared is not None:
                        told = Fact(name, (), compared[0], place=self.span(i, compared[1]))
                        return told, compared[1]
        return None

    def named(self, i: int) -> tuple[Node, int] | None:
        """``in the dataset argoverse2_sensor``, ``in the val split``."""
        for name, ways in lexicon.NAMED.items():
            for words in (w for way in ways for w in spelt(way)):
                if self.said(i, *words) and i + len(words) < len(self.tokens):
                    value, j = self.name_at(i + len(words))
                    return Fact(name, (value,), place=self.span(i, j)), j
        if (
            self.word(i) in ("in", "from")
            and self.word(i + 1) == "the"
            and i + 3 < len(self.tokens)
        ):
            value, j = self.name_at(i + 2)
            if self.word(j) in ("split", "dataset"):
                name = self.word(j)
                self.reach(j + 1)
                return Fact(name, (value,), place=self.span(i, j + 1)), j + 1
        return None

    def leading(self, i: int, facts: list[Node]) -> int:
        """Facts in front: ``at night, a car …``."""
        while True:
            found = self.fact(i)
            if found is None:
                return i
            facts.extend(found[0])
            i = self.comma(found[1])


def _fact_node(means: str, place: Place) -> Node:
    """A fact as the lexicon says it."""
    if means.startswith("not "):
        return Not(_fact_node(means.removeprefix("not "), place), place=place)
    name, _, word = means.partition(" is ")
    return Fact(name, (word,), place=place) if word else Call(name, (), None, place=place)
