"""What the generator can aim at: each behaviour's rule-made beginning and its guidance.

The table reads in the order in which a person would list it. A tag of the predicates that has no
behaviour of its own is reached for by variation: everyone near is generated anew, and what shows
the tag is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from generation.guidance import (
    AgainstLane,
    Brake,
    CrossPath,
    KeepApart,
    KeepSpeed,
    MeetEgo,
    ReachGap,
    StandStill,
    StayNear,
    StayOnLanes,
    Weighted,
    WithinLimits,
)
from generation.proposals import (
    Proposal,
    Propose,
    crossing,
    cut_in,
    hard_brake,
    jaywalking,
    near_miss,
    overtake,
    pedestrian_crossing,
    red_light,
    stalled,
    swerve,
    tailgating,
    turn_across,
    waiting_for_pedestrian,
    wrong_way,
)
from schemas.errors import UnknownName

Numbers = Callable[[str], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """One thing that another road user can do to the ego.

    Attributes:
        name: As asked for (``--adversary``).
        propose: Its rule-made beginning.
        aim: Terms of the guidance, from the numbers that were drawn.
        leaves_lanes: Whether the actor may leave its lane.
        tags: Predicates that it can make true.
        doc: In a sentence.
        gamma: Share of the γ asked for; below 1 where the manoeuvre is rare in traffic or quicker
            than noise leaves it.
        hold: Weight that keeps the actor near its rule-made beginning.
    """

    name: str
    propose: Propose
    aim: Callable[[Numbers], list[Weighted]]
    leaves_lanes: bool
    tags: tuple[str, ...]
    doc: str
    gamma: float = 1.0
    hold: float = 1.0


def _place(numbers: Numbers) -> Tensor:
    return torch.stack([numbers("x"), numbers("y")], -1)


def _gap(numbers: Numbers, metres: float) -> Tensor:
    return torch.full_like(numbers("aggressiveness"), metres)


def _nothing(_: Numbers) -> list[Weighted]:
    return []


BEHAVIOURS: dict[str, Behaviour] = {
    behaviour.name: behaviour
    for behaviour in (
        Behaviour(
            name="cut_in", propose=cut_in, leaves_lanes=True,
            aim=lambda n: [Weighted(ReachGap(gap=n("gap"), by=n("by")), 3.0)],
            tags=("cut_in", "lane_change_left", "lane_change_right"),
            doc="A vehicle beside the ego comes over into its lane, close ahead.",
        ),
        Behaviour(
            name="hard_brake", propose=hard_brake, leaves_lanes=False,
            aim=lambda n: [
                Weighted(Brake(begin=n("begin"), rate=n("rate"), floor=n("floor")), 4.0)
            ],
            tags=("hard_brake", "braking", "ttc", "drac", "slow_lead"),
            doc="The vehicle ahead of the ego brakes hard.",
        ),
        Behaviour(
            name="stalled", propose=stalled, leaves_lanes=True,
            aim=lambda n: [Weighted(StandStill(begin=n("begin")), 4.0)],
            tags=("blocked_by",),
            doc="A vehicle stands in the ego's lane.",
        ),
        Behaviour(
            name="jaywalking", propose=jaywalking, leaves_lanes=True,
            aim=lambda n: [Weighted(CrossPath(place=_place(n), at=n("at")), 2.0)],
            tags=("jaywalking",),
            doc="A pedestrian walks across the ego's way where there is no crosswalk.",
        ),
        Behaviour(
            name="pedestrian_crossing", propose=pedestrian_crossing, leaves_lanes=True,
            aim=lambda n: [Weighted(CrossPath(place=_place(n), at=n("at")), 2.0)],
            tags=("crosses_in_front", "crossed_by"),
            doc="A pedestrian walks across the ego's way, on a crosswalk or not.",
        ),
        Behaviour(
            name="near_miss", propose=near_miss, leaves_lanes=True,
            aim=lambda n: [
                Weighted(CrossPath(place=_place(n), at=n("at")), 2.0),
                Weighted(KeepSpeed(speed=n("speed")), 0.5),
            ],
            tags=("near_miss", "pet"),
            doc="Somebody crosses the ego's way shortly before it comes.",
        ),
        Behaviour(
            name="crossing", propose=crossing, leaves_lanes=False,
            aim=lambda n: [
                Weighted(CrossPath(place=_place(n), at=n("at")), 2.0),
                Weighted(KeepSpeed(speed=n("speed")), 0.5),
            ],
            tags=("pet",),
            doc="A vehicle on a crossing lane passes shortly before or after the ego.",
        ),
        Behaviour(
            name="turn_across", propose=turn_across, leaves_lanes=False,
            aim=lambda n: [Weighted(CrossPath(place=_place(n), at=n("at")), 2.0)],
            tags=("oncoming_turn_conflict",),
            doc="An oncoming vehicle turns left across the ego's way.",
        ),
        Behaviour(
            name="waiting_for_pedestrian", propose=waiting_for_pedestrian, leaves_lanes=True,
            aim=lambda n: [Weighted(CrossPath(place=_place(n), at=n("at")), 2.0)],
            tags=("waiting_for_pedestrian",),
            doc="A pedestrian walks across just ahead of the ego while it stands.",
        ),
        Behaviour(
            name="tailgating", propose=tailgating, leaves_lanes=False,
            aim=lambda n: [Weighted(MeetEgo(gap=_gap(n, 3.0), bearing=float(np.pi)), 0.5)],
            tags=("tailgating",),
            doc="A vehicle follows the ego far too closely.",
        ),
        Behaviour(
            name="overtake", propose=overtake, leaves_lanes=True, aim=_nothing,
            tags=("overtake",),
            doc="A vehicle comes from behind, passes the ego, and is back ahead of it.",
            gamma=0.5,
            hold=3.0,
        ),
        Behaviour(
            name="swerve", propose=swerve, leaves_lanes=True,
            aim=lambda n: [Weighted(KeepSpeed(speed=n("speed")), 0.5)],
            tags=("swerve",),
            doc="The vehicle ahead darts to one side of its lane and back.",
            gamma=0.3,
            hold=6.0,
        ),
        Behaviour(
            name="red_light", propose=red_light, leaves_lanes=False,
            aim=lambda n: [Weighted(KeepSpeed(speed=n("speed")), 3.0)],
            tags=("red_light_running",),
            doc="A vehicle does not stop at its red light.",
        ),
        Behaviour(
            name="wrong_way", propose=wrong_way, leaves_lanes=True,
            aim=lambda n: [
                Weighted(AgainstLane(), 0.3), Weighted(KeepSpeed(speed=n("speed")), 1.0)
            ],
            tags=("wrong_way",),
            doc="A vehicle comes towards the ego against the direction of a lane.",
            gamma=0.4,
            hold=4.0,
        ),
        Behaviour(
            name="rear_end", propose=hard_brake, leaves_lanes=False,
            aim=lambda n: [
                Weighted(Brake(begin=n("begin"), rate=n("rate"), floor=n("floor")), 2.0),
                Weighted(MeetEgo(gap=_gap(n, 0.0), bearing=0.0, heading=0.0), 1.0),
            ],
            tags=("collision",),
            doc="The vehicle ahead brakes so that the ego's plan runs into it.",
        ),
        Behaviour(
            name="side", propose=cut_in, leaves_lanes=True,
            aim=lambda n: [
                Weighted(ReachGap(gap=n("gap") * 0.2, by=n("by")), 1.0),
                Weighted(MeetEgo(gap=_gap(n, 0.0), heading=0.0, end=6.0), 2.0),
            ],
            tags=(),
            doc="A vehicle beside the ego comes over into its side.",
        ),
        Behaviour(
            name="head_on", propose=wrong_way, leaves_lanes=True,
            aim=lambda n: [
                Weighted(AgainstLane(), 0.3),
                Weighted(MeetEgo(gap=_gap(n, 0.0), bearing=0.0, heading=float(np.pi)), 2.0),
            ],
            tags=(),
            doc="A vehicle comes towards the ego in its lane.",
            gamma=0.4,
            hold=4.0,
        ),
    )
}  # fmt: skip
"""By name; ``rear_end``, ``side``, ``head_on`` and ``crossing`` are the types of collision."""


def behaviour_for(name: str) -> Behaviour:
    """The behaviour of a name.

    Raises:
        UnknownName: There is none.
    """
    if name not in BEHAVIOURS:
        raise UnknownName("adversary", name, BEHAVIOURS)
    return BEHAVIOURS[name]


def behaviours_for_tag(tag: str) -> list[Behaviour]:
    """The behaviours that can make a predicate true; none for tags reached by variation alone."""
    return [b for b in BEHAVIOURS.values() if tag in b.tags or b.name == tag]


def terms_for(
    behaviour: Behaviour | None,
    proposals: Sequence[Proposal],
    reference: StayNear,
    *,
    aggressiveness: float,
) -> list[Weighted]:
    """The aims of a behaviour and the regularisers, for one batch of candidates.

    Args:
        behaviour: None for variation without an aim.
        proposals: Of the candidates, in order.
        reference: How the others went in the log; they are held near it.
        aggressiveness: In [0, 1]; the aims' weights grow with it.
    """
    adversarial = behaviour is not None
    regular = [
        # The aims say where, the reference how: the actor keeps to its rule-made beginning.
        Weighted(KeepApart(margin=0.6, spare_ego=adversarial), 4.0),
        Weighted(StayOnLanes(spare_actor=bool(behaviour and behaviour.leaves_lanes)), 0.5),
        Weighted(WithinLimits(), 2.0),
        Weighted(reference, 0.2),
        Weighted(
            replace(reference, tolerance=1.0, actor_only=True),
            behaviour.hold if behaviour else 0.0,
        ),
    ]
    if behaviour is None:
        return regular

    def numbers(name: str) -> Tensor:
        if name == "aggressiveness":
            return torch.full((len(proposals),), aggressiveness)
        return torch.tensor([p.numbers[name] for p in proposals], dtype=torch.float32)

    strength = 0.75 + 0.5 * aggressiveness
    aims = [Weighted(w.term, w.weight * strength) for w in behaviour.aim(numbers)]
    return aims + regular
