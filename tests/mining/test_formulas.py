"""The formula of a predicate says what decides it: with all of its parameters, in known signs."""

from __future__ import annotations

import re
from string import Formatter

import pytest

from cli.docs import predicates_page
from mining.predicates import PREDICATES, Predicate
from mining.predicates.predicate import SIGNS


@pytest.mark.parametrize("predicate", PREDICATES.values(), ids=PREDICATES)
def test_a_formula_names_every_parameter_and_no_other(predicate: Predicate):
    fields = {name for _, name, _, _ in Formatter().parse(predicate.formula) if name is not None}
    assert fields == {p.name for p in predicate.parameters}
    assert predicate.decides().strip()
    assert predicate.decides("`{}`") in predicates_page().replace("\\|", "|")


@pytest.mark.parametrize("predicate", PREDICATES.values(), ids=PREDICATES)
def test_a_quantity_of_a_formula_is_compared_in_the_unit_of_its_parameter(predicate: Predicate):
    """`v ≳ {speed}` asks for a speed; a parameter of another unit would be another formula."""
    units = {p.name: p.unit for p in predicate.parameters}
    of = {"v": "m/s", "a": "m/s²", "clear": "m", "gap": "m", "c": "m", "q": "m", "l": "m",
          "T": "s", "TTC": "s", "PET": "s", "ω": "rad/s"}  # fmt: skip
    # Bare: neither part of a sum, a product or a longer name, nor the bound multiplied.
    bare = re.compile(r"(?:^|∧ |: |; )(\w+) [≳≲≥≤<>] −?\{(\w+)\}(?= [∧∨]|[,;]|$)")
    plain = bare.findall(predicate.formula)
    for quantity, parameter in plain:
        assert of.get(quantity, units[parameter]) == units[parameter], (quantity, parameter)


def test_signs_are_used():
    """What the list of signs explains, some formula has."""
    everything = " ".join(p.formula for p in PREDICATES.values())
    for entry in SIGNS:
        for sign in entry.replace(" p", "").split(", "):
            assert sign.strip("x") in everything, sign
