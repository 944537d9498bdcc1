"""Whom words mean: ``a car`` is somebody new, ``the car`` was spoken of, ``it`` is the last who fits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NoReturn

from mining.query.classes import CLASSES
from mining.query.mistakes import BadExpression
from mining.query.tree import EGO, Actor, Place
from mining.query.words.sentence import Noun

_PEOPLE = {"pedestrian", "cyclist"}


@dataclass(slots=True)
class Person:
    """Somebody of whom was spoken."""

    name: str
    cls: str | None
    words: str
    place: Place
    anyone: bool = False
    closed: str = ""
    told: frozenset[str] = frozenset()

    @property
    def actor(self) -> Actor:
        """As a query says who it is."""
        return Actor(self.name, self.cls)


@dataclass
class People:
    """Everybody of whom one sentence speaks.

    Attributes:
        text: The sentence.
        people: Of whom was spoken, in order.
        lately: The names of those spoken of last, clause by clause.
    """

    text: str
    people: list[Person] = field(default_factory=list)
    lately: list[list[str]] = field(default_factory=list)

    def wrong(self, place: Place, reason: str, *, hint: str = "") -> NoReturn:
        """Refuses the sentence."""
        raise BadExpression(self.text, place, reason, hint=hint)

    def said(self, place: Place) -> str:
        """The words that stand there."""
        return self.text[slice(*place)]

    def resolve(self, noun: Noun, subject: Actor | None) -> Actor:
        """Whom words mean.

        Args:
            noun: The words.
            subject: Of the same clause, who is somebody else; None if these are of the subject.
        """
        actor = self._resolve(noun, subject)
        if actor.is_variable or actor.name == EGO:
            self.speak_of(actor.name)
        return replace(actor, place=noun.place)

    def _resolve(self, noun: Noun, subject: Actor | None) -> Actor:
        match noun.who:
            case "ego":
                return Actor(EGO)
            case "anyone":
                return self.introduce(noun).actor  # `_`, if nothing else is said of them
            case "it":
                return self.pronoun(noun, subject)
            case "new":
                return self.introduce(noun).actor
        fits = [p for p in self.people if self.is_one(p, noun)]
        if noun.who == "nth":
            if len(fits) >= noun.nth:
                return self.open(fits[noun.nth - 1], noun.place).actor
            if len(fits) == noun.nth - 1:
                return self.introduce(noun).actor
            self.wrong(
                noun.place, f"`{self.said(noun.place)}`: only {len(fits)} so far",
                hint=f"Introduce them in order: `a {noun.words} … a second {noun.words}`.",
            )  # fmt: skip
        if len(fits) > 1:
            self.wrong(
                noun.place, f"`{self.said(noun.place)}` may be either of {len(fits)}",
                hint=f"Say `the first {noun.words}` or `the second {noun.words}`.",
            )  # fmt: skip
        described = frozenset(f"{aside.denied} {aside.means}" for aside in noun.asides)
        if not fits and described:
            return self.introduce(noun).actor  # "the car behind the ego" is told by these words
        if fits and not described <= fits[0].told:
            self.wrong(
                noun.place, f"`{self.said(noun.place)}` may be the one of whom was spoken, or another",
                hint=f"Say `the {noun.words}` alone, or `another {noun.words}` and what it does.",
            )  # fmt: skip
        if not fits:
            self.wrong(
                noun.place, f"`{self.said(noun.place)}` is not one of whom was spoken",
                hint=f"Introduce them by `a {noun.words}`.",
            )  # fmt: skip
        return self.open(fits[0], noun.place).actor

    def is_one(self, person: Person, noun: Noun) -> bool:
        """Whether the words may mean somebody of whom was spoken."""
        if noun.cls is None or person.cls is None:
            return noun.cls == person.cls or noun.cls is None
        return person.cls == noun.cls or CLASSES[person.cls] < CLASSES[noun.cls]

    def open(self, person: Person, place: Place) -> Person:
        """Somebody, of whom more may be said."""
        if person.closed:
            self.closed(person, place)
        return person

    def closed(self, person: Person, place: Place) -> NoReturn:
        """Refuses to say more of somebody."""
        self.wrong(
            place, f"This is {person.closed}, since it was said of none or of many",
            hint="Say what else is so in the same words, as in `no car that is parked …`.",
        )  # fmt: skip

    def close(self, before: int, why: str) -> None:
        """Nothing more can be said of those introduced since then."""
        for person in self.people[before:]:
            person.closed = why

    def person(self, name: str) -> Person | None:
        """Who has a name; None: the ego."""
        return next((p for p in self.people if p.name == name), None)

    def pronoun(self, noun: Noun, subject: Actor | None) -> Actor:
        """The last one who fits."""
        found: str | None = None
        said = reversed(self.lately)
        if noun.words in ("they", "them"):  # may be several, so all of whom was spoken
            said = reversed([[name for names in self.lately for name in names]])
        for names in said:
            fits = [
                name for name in dict.fromkeys(names)
                if (subject is None or name != subject.name) and self.fits(name, noun.words)
            ]  # fmt: skip
            if len(fits) > 1:
                either = " or ".join(f"the {self.words(name)}" for name in fits)
                self.wrong(
                    noun.place,
                    f"`{noun.words}` may be {either}",
                    hint="Name the one that is meant.",
                )
            if fits:
                found = fits[0]
                break
        if found is None:
            self.wrong(
                noun.place, f"`{noun.words}` is nobody of whom was spoken",
                hint="Name the one that is meant.",
            )  # fmt: skip
        person = self.person(found)
        return Actor(EGO) if person is None else self.open(person, noun.place).actor

    def fits(self, name: str, pronoun: str) -> bool:
        """Whether a pronoun may mean them."""
        person = self.person(name)
        if person is not None and person.words == "nobody":
            return False
        cls = "vehicle" if person is None else person.cls
        if pronoun in ("he", "him", "she", "her"):
            return cls is None or cls in (*_PEOPLE, "vru", "motorcycle")
        if pronoun in ("they", "them"):
            return name != EGO
        return cls not in _PEOPLE

    def words(self, name: str) -> str:
        """By which words they were introduced."""
        person = self.person(name)
        return "ego" if person is None else person.words

    def introduce(self, noun: Noun) -> Person:
        """Somebody new, with a name that no one else has."""
        letter = noun.cls[0] if noun.cls else "a"
        names = {p.name for p in self.people}
        name = letter
        number = 1
        while name in names:
            number += 1
            name = f"{letter}{number}"
        made = Person(name, noun.cls, noun.words, noun.place, noun.who == "anyone")
        made.told = frozenset(f"{aside.denied} {aside.means}" for aside in noun.asides)
        self.people.append(made)
        return made

    def speak_of(self, name: str) -> None:
        """They were spoken of last."""
        if self.lately:
            self.lately[-1].append(name)
