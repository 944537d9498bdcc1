"""How near it came to going wrong."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Float, Int

from geometry.arrays import Array
from mining.contact import met, overlapping
from mining.criticality import (
    brake_threat_number,
    crash_potential,
    encroachment_time,
    meet_turning,
    rss_safe_gap,
    steer_threat_number,
    time_exposed,
    time_integrated,
)
from mining.criticality.counterfactual import HORIZON_S, relevance
from mining.criticality.lateral import proper_response
from mining.criticality.measures import (
    RSS,
    Measures,
    Responsibility,
    measures_of,
    side_of,
)
from mining.criticality.oncoming import oncoming_of
from mining.criticality.scene import (
    BRAKING_AVAILABLE,
    CAPABLE,
    EXPOSED_S,
    MADR_DEVIATION,
    MADR_LEAST,
    MADR_MEAN,
    MADR_MOST,
    STEERING_AVAILABLE,
)
from mining.intervals import above, below, runs, steps_of
from mining.kalman import forecast_error
from mining.motion import Motion
from mining.predicates.predicate import Limits, Parameter, Predicate, Span, relations
from schemas.labels import DRIVING, Truth
from schemas.scene import DT

GROUP = "risk"


# -- behind a leader ---------------------------------------------------------------------------


def _ttc(motion: Motion, limits: Limits) -> Iterable[Span]:
    # Boxes that overlap are a collision or an annotation error, but no time to a collision.
    m, leads = measures_of(motion), motion.leads
    mask = below(m.ttc, limits["ttc"], known=leads.on & (m.speed_rear > 1.0))
    facts = {"gap": leads.gap, "closing_speed": m.speed_rear - m.speed_front}
    return relations(leads.a, leads.b, mask, m.ttc, pick=np.argmin, least_s=0.3, evidence=facts)


def _thw(motion: Motion, limits: Limits) -> Iterable[Span]:
    m, leads = measures_of(motion), motion.leads
    mask = below(m.thw, limits["thw"], known=leads.on & (m.speed_rear >= limits["speed"]))
    facts = {"gap": leads.gap, "speed": m.speed_rear}
    return relations(leads.a, leads.b, mask, m.thw, pick=np.argmin, evidence=facts)


def _drac(motion: Motion, limits: Limits) -> Iterable[Span]:
    m, leads = measures_of(motion), motion.leads
    mask = above(m.drac, limits["drac"], known=m.following)
    return relations(leads.a, leads.b, mask, m.drac, least_s=0.3, evidence={"gap": leads.gap})


def _a_req(motion: Motion, limits: Limits) -> Iterable[Span]:
    m, leads = measures_of(motion), motion.leads
    mask = above(m.needed, limits["a_req"], known=m.needed_known)
    yield from relations(
        leads.a, leads.b, mask, m.needed, least_s=0.3, evidence={"gap": leads.gap}
    )


def _btn(motion: Motion, limits: Limits) -> Iterable[Span]:
    m, leads = measures_of(motion), motion.leads
    number = brake_threat_number(m.needed, available=limits["available"])
    mask = above(number, limits["btn"], known=m.needed_known)
    facts = {"gap": leads.gap, "a_req": m.needed}
    yield from relations(leads.a, leads.b, mask, number, least_s=0.2, evidence=facts)
    yield from _braking_unknown(motion, m, limits["btn"] * limits["available"])


def _braking_unknown(motion: Motion, m: Measures, needed: float) -> Iterable[Span]:
    """Where a leader's braking would decide, and is not known: gaps that close but too slowly."""
    leads = motion.leads
    doubt = m.following & ~m.needed_known & (m.ttc < 2.0) & (m.drac < needed)
    for row, begin, end in runs(doubt):
        if end - begin + 1 >= steps_of(0.5):
            yield _doubt(begin, end, int(leads.a[row]), int(leads.b[row]), "braking not known")


def _stn(motion: Motion, limits: Limits) -> Iterable[Span]:
    m, leads = measures_of(motion), motion.leads
    number = steer_threat_number(m.swerve, available=limits["available"])
    known = m.following & (m.speed_rear - m.speed_front >= limits["closing"])
    mask = above(number, limits["stn"], known=known)
    facts = {"gap": leads.gap, "ttc": m.ttc, "a_lat_req": m.swerve}
    return relations(leads.a, leads.b, mask, number, least_s=0.2, evidence=facts)


def _rss_violation(motion: Motion, limits: Limits) -> Iterable[Span]:
    m, leads = measures_of(motion), motion.leads
    safe = rss_safe_gap(
        m.speed_rear,
        np.maximum(m.speed_front, 0.0),
        response_s=limits["response"],
        accelerates=limits["accelerates"],
        brakes_least=limits["brakes_least"],
        brakes_most=limits["brakes_most"],
    )
    lacks = np.where(leads.on, safe - leads.gap, -np.inf)
    mask = leads.on & (lacks > 0.0) & (m.speed_rear >= limits["speed"])
    return relations(leads.a, leads.b, mask, lacks, evidence={"gap": leads.gap, "safe": safe})


def _rss_oncoming(motion: Motion, limits: Limits) -> Iterable[Span]:
    m, pairs, comes = measures_of(motion), motion.pairs, oncoming_of(motion)
    rss = Responsibility(
        response_s=limits["response"],
        accelerates=limits["accelerates"],
        brakes_correct=limits["brakes_correct"],
        brakes_least=limits["brakes_least"],
    )
    lacks = m.lacks_oncoming(rss)
    mask = (lacks > 0.0) & (motion.speed[pairs.b] >= limits["speed"])
    facts = {"gap": comes.gap, "safe": lacks + np.where(comes.on, comes.gap, 0.0)}
    return relations(pairs.a, pairs.b, mask, lacks, evidence=facts)


def _tet(motion: Motion, limits: Limits) -> Iterable[Span]:
    m = measures_of(motion)
    total = time_exposed(m.ttc, below=limits["tau"])
    return _over_all(motion, m.ttc <= limits["tau"], total, total >= limits["tet"] - 1e-9)


def _tit(motion: Motion, limits: Limits) -> Iterable[Span]:
    m = measures_of(motion)
    total = time_integrated(m.ttc, below=limits["tau"])
    return _over_all(motion, m.ttc <= limits["tau"], total, total >= limits["tit"] - 1e-9)


def _cpi(motion: Motion, limits: Limits) -> Iterable[Span]:
    m, leads = measures_of(motion), motion.leads
    index = crash_potential(
        m.drac,
        motion.seen[leads.a] & motion.seen[leads.b],
        mean=limits["mean"],
        deviation=limits["deviation"],
        least=limits["least"],
        most=limits["most"],
    )
    return _over_all(motion, m.drac > limits["least"], index, index >= limits["cpi"])


def _over_all(
    motion: Motion,
    exposed: Bool[Array, "leads steps"],
    total: Float[Array, " leads"],
    holds: Bool[Array, " leads"],
) -> Iterable[Span]:
    """One span from the first to the last exposed step of each lead whose total is enough."""
    leads = motion.leads
    for row in np.flatnonzero(holds & exposed.any(axis=1)).tolist():
        steps = np.flatnonzero(exposed[row])
        yield Span(
            begin=int(steps[0]),
            end=int(steps[-1]),
            actor=int(leads.a[row]),
            other=int(leads.b[row]),
            value=float(total[row]),
            evidence={"exposed_s": round(len(steps) * DT, 1)},
        )


# -- on course to meet -------------------------------------------------------------------------


def _ttc_2d(motion: Motion, limits: Limits) -> Iterable[Span]:
    m = measures_of(motion)
    a, b, gap = _once(motion, m)
    mask = below(m.ttc_2d, limits["ttc"], known=m.course_known & (m.closing >= limits["closing"]))
    facts = {"gap": gap, "closing_speed": m.closing}
    return relations(a, b, mask, m.ttc_2d, pick=np.argmin, least_s=0.3, evidence=facts)


def _once(
    motion: Motion, m: Measures
) -> tuple[Int[Array, " half"], Int[Array, " half"], Float[Array, "half steps"]]:
    """Unordered pairs, and the gaps between their outlines."""
    pairs = motion.pairs
    return pairs.a[: m.half], pairs.b[: m.half], pairs.clearance[: m.half]


def _dce(motion: Motion, limits: Limits) -> Iterable[Span]:
    m = measures_of(motion)
    a, b, gap = _once(motion, m)
    dce, ttce = m.encounter
    known = m.course_known & (m.closing >= limits["closing"]) & (gap > 0.0)
    mask = below(dce, limits["dce"], known=known & (ttce <= limits["ttce"]))
    facts = {"ttce": ttce, "gap": gap, "closing_speed": m.closing}
    return relations(a, b, mask, dce, pick=np.argmin, least_s=0.3, evidence=facts)


def _delta_v(motion: Motion, limits: Limits) -> Iterable[Span]:
    m = measures_of(motion)
    a, b, gap = _once(motion, m)
    for actor, other, change in ((a, b, m.impact[0]), (b, a, m.impact[1])):
        soon = m.course_known & (m.ttc_2d <= limits["ttc"]) & (gap > 0.0)
        mask = above(change, limits["delta_v"], known=soon)
        facts = {"ttc": m.ttc_2d, "gap": gap}
        yield from relations(actor, other, mask, change, least_s=0.3, evidence=facts)


def _wttc(motion: Motion, limits: Limits) -> Iterable[Span]:
    m = measures_of(motion)
    rows = motion.pairs.once
    wttc, gap = m.wttc(limits["acceleration"])[rows], motion.pairs.clearance[rows]
    mask = below(wttc, limits["wttc"], known=m.course_known[rows])
    a, b = motion.pairs.a[rows], motion.pairs.b[rows]
    return relations(a, b, mask, wttc, pick=np.argmin, least_s=0.3, evidence={"gap": gap})


# -- where ways cross --------------------------------------------------------------------------


def _pet(motion: Motion, limits: Limits) -> Iterable[Span]:
    for c in motion.conflicts:
        if c.pet <= limits["pet"]:
            yield Span(
                begin=min(c.first_leaves, c.second_enters),
                end=max(c.first_leaves, c.second_enters),
                actor=c.first,
                other=c.second,
                value=c.pet,
                evidence={
                    "first_leaves_step": c.first_leaves,
                    "second_enters_step": c.second_enters,
                    "speed_first": float(motion.speed[c.first, c.first_leaves]),
                    "speed_second": float(motion.speed[c.second, c.second_enters]),
                },
            )


def _et(motion: Motion, limits: Limits) -> Iterable[Span]:
    for c in motion.conflicts:
        if c.pet > limits["pet"]:
            continue
        for actor, other, enters, leaves in (
            (c.first, c.second, c.first_enters, c.first_leaves),
            (c.second, c.first, c.second_enters, c.second_leaves),
        ):
            stays = float(encroachment_time(np.array(enters), np.array(leaves)))
            if stays >= limits["et"]:
                yield Span(
                    begin=enters,
                    end=leaves,
                    actor=actor,
                    other=other,
                    value=stays,
                    evidence={"pet": c.pet},
                )


def _mttcp(motion: Motion, limits: Limits) -> Iterable[Span]:
    found = motion.conflicts
    apart = measures_of(motion).at_crossing
    a = np.array([c.first for c in found], dtype=np.int64)
    b = np.array([c.second for c in found], dtype=np.int64)
    mask = below(apart, limits["mttcp"], known=np.isfinite(apart))
    pet = np.repeat(np.array([c.pet for c in found])[:, None], motion.steps, axis=1)
    return relations(a, b, mask, apart, pick=np.argmin, least_s=0.2, evidence={"pet": pet})


# -- beside each other -------------------------------------------------------------------------


def _responsibility(limits: Limits) -> Responsibility:
    return Responsibility(
        response_s=limits["response"],
        accelerates=limits["accelerates"],
        brakes_least=limits["brakes_least"],
        brakes_most=limits["brakes_most"],
        drifts=limits["drifts"],
        brakes_aside=limits["brakes_aside"],
        margin=limits["margin"],
    )


def _rss_lateral(motion: Motion, limits: Limits) -> Iterable[Span]:
    side, pairs = side_of(motion, _responsibility(limits)), motion.pairs
    # Who is in the other's way is behind it, not beside it.
    beside = side.known & side.unsafe_along & (side.gap > 0.0)
    mask = beside & (side.lacks > 0.0) & (side.toward >= limits["toward"])
    facts = {"gap": side.gap, "toward": side.toward}
    return relations(pairs.a, pairs.b, mask, side.lacks, least_s=0.3, evidence=facts)


def _rss_danger(motion: Motion, limits: Limits) -> Iterable[Span]:
    side, pairs = side_of(motion, _responsibility(limits)), motion.pairs
    a = pairs.a
    proper = proper_response(
        side.began,
        side.way,
        motion.acceleration[a],
        motion.speed[a],
        side.toward,
        response_steps=steps_of(limits["response"]),
        accelerates=limits["accelerates"],
        brakes_least=limits["brakes_least"],
        drifts=limits["still"],
    )
    since = np.where(side.dangerous, (np.arange(motion.steps) - side.began + 1) * DT, 0.0)
    known = motion.acceleration_known[a]
    facts = {
        "threshold_step": side.began.astype(np.float64),
        "asks": side.way.astype(np.float64),
        "gap_aside": side.gap,
    }
    mask = side.dangerous & ~proper & known
    yield from relations(pairs.a, pairs.b, mask, since, evidence=facts)
    for row, begin, end in runs(side.dangerous & ~known):
        if end - begin + 1 >= steps_of(0.5):
            yield _doubt(begin, end, int(a[row]), int(pairs.b[row]), "acceleration not known")


# -- contact -----------------------------------------------------------------------------------


def _doubt(begin: int, end: int, actor: int, other: int | None, reason: str) -> Span:
    return Span(
        begin=begin,
        end=end,
        actor=actor,
        other=other,
        evidence={"reason": reason},
        truth=Truth.UNKNOWN,
    )


def _collision(motion: Motion, limits: Limits) -> Iterable[Span]:
    m = measures_of(motion)
    a, b, _ = _once(motion, m)
    # Where a scene was made up, boxes are exactly as large as they are said to be.
    exact = motion.scene.source == "generated"
    touch = overlapping(motion, inset=limits["slack"])
    deep = touch if exact else overlapping(motion, inset=limits["certain"])
    seen_apart = met(motion)
    apart = motion.velocity[a] - motion.velocity[b]
    impact = np.hypot(apart[..., 0], apart[..., 1])
    guessed = np.zeros(motion.agents, dtype=bool) if exact else motion.size_guessed
    for span in relations(a, b, touch, impact, least_s=0.2):
        assert span.actor is not None
        assert span.other is not None
        if (span.value or 0.0) < limits["speed"] or _on_foot(motion, span, limits["walked_into"]):
            continue
        row = int(np.flatnonzero((a == span.actor) & (b == span.other))[0])
        if guessed[span.actor] or guessed[span.other]:
            reason = "sizes not told"
        elif not seen_apart[row, span.begin]:
            reason = "overlap since first seen"
        elif not deep[row, span.begin : span.end + 1].any():
            reason = "overlap within the error of boxes"
        else:
            yield span
            continue
        for agent in (span.actor, span.other):
            yield _doubt(span.begin, span.end, agent, None, reason)


def _on_foot(motion: Motion, span: Span, speed: float) -> bool:
    """Whether someone on foot meets something that stands: gets in, gets out, squeezes past."""
    assert span.actor is not None
    assert span.other is not None
    steps = slice(span.begin, span.end + 1)
    for walker, other in ((span.actor, span.other), (span.other, span.actor)):
        if motion.is_pedestrian[walker] and motion.speed[other, steps].max() < speed:
            return True
    return False


def _near_miss(motion: Motion, limits: Limits) -> Iterable[Span]:
    m = measures_of(motion)
    a, b, gap = _once(motion, m)
    touches = np.asarray(overlapping(motion, inset=limits["slack"]).any(axis=1))
    known = m.course_known & (m.closing >= limits["closing"]) & ~touches[:, None] & (gap > 0.0)
    # What gentle braking mends is an approach, no near miss.
    brakes = m.closing / (2 * np.maximum(m.ttc_2d, DT))
    known &= brakes >= limits["braking"]
    near = below(m.ttc_2d, limits["ttc"], known=known)
    rows, steps = np.nonzero(near)
    turn = np.where(motion.turn_known, motion.yaw_rate, 0.0)
    i, j = a[rows], b[rows]
    near[rows, steps] = meet_turning(
        motion.boxes[i, steps],
        motion.boxes[j, steps],
        motion.velocity[i, steps],
        motion.velocity[j, steps],
        turn[i, steps],
        turn[j, steps],
        within_s=limits["ttc"] * 1.1,
    )
    facts = {"gap": gap, "closing_speed": m.closing}
    brief = motion.seen.sum(axis=1) < steps_of(limits["seen"])
    for span in relations(a, b, near, m.ttc_2d, pick=np.argmin, least_s=0.2, evidence=facts):
        assert span.actor is not None
        assert span.other is not None
        ghost = span.actor if brief[span.actor] else span.other if brief[span.other] else None
        if ghost is None:
            yield span
        else:
            yield _doubt(span.begin, span.end, ghost, None, "seen too briefly to be believed")
    for span in _pet(motion, {"pet": limits["pet"]}):
        fast = max(span.evidence["speed_first"], span.evidence["speed_second"])
        if fast >= limits["closing"]:
            yield span


# -- how hard, and how much it mattered --------------------------------------------------------


def _kalman_difficulty(motion: Motion, limits: Limits) -> Iterable[Span]:
    now = motion.scene.anchor
    after = np.array([20, 40, 60])
    error, known = forecast_error(motion.xy, motion.seen, now=now, after=after)
    moves = motion.focus & ~motion.immobile & ~motion.is_thing
    for i in np.flatnonzero(moves & known.any(axis=1)).tolist():
        told = np.flatnonzero(known[i])
        farthest = int(told[-1])
        if error[i, farthest] >= limits["epe"]:
            yield Span(
                begin=now,
                end=now + int(after[farthest]),
                actor=i,
                value=float(error[i, farthest]),
                evidence={f"epe_{after[k] * DT:.0f}s": float(error[i, k]) for k in told},
            )
    end = min(now + int(after[0]), motion.steps - 1)
    for i in np.flatnonzero(moves & motion.seen[:, now] & ~known.any(axis=1)).tolist():
        yield _doubt(now, end, i, None, "seen too briefly before or after the anchor")


def _counterfactual_delta(motion: Motion, limits: Limits) -> Iterable[Span]:
    told, now = relevance(motion), motion.scene.anchor
    end = min(motion.steps - 1, now + round(HORIZON_S / DT))
    for i in np.flatnonzero(told.motion_known & (told.delta >= limits["delta"])).tolist():
        yield Span(
            begin=now,
            end=end,
            actor=0,
            other=i,
            value=float(told.delta[i]),
            evidence={"contact_s": float(told.contact[i]), "displaced": float(told.displaced[i])},
        )
    if not motion.scene.has_ego or told.presence_known.any():
        return
    others = motion.focus & (np.arange(motion.agents) > 0)
    if others.any():
        yield _doubt(now, end, 0, None, "the ego is seen too briefly after the anchor")


TTC = Predicate(
    name="ttc",
    group=GROUP,
    doc="Time to collision with the leader along the lane, below 2 s (critical: 0.95 s, nuPlan).",
    formula="TTC = gap / (v − v_lead) ≲ {ttc} ∧ v > 1 m/s, T ≥ 0.3 s",
    find=_ttc,
    roles=("actor", "other"),
    unit="s",
    parameters=(Parameter("ttc", 2.0, "s", "CriMe"),),
    needs=("map",),
    only=(DRIVING,),
)
TTC_2D = Predicate(
    name="ttc_2d",
    group=GROUP,
    doc="The two boxes will touch within 2 s if both keep velocity and heading, lane or not; told "
    "only of what does not move as one.",
    formula="min t: the boxes touch at constant velocity and heading, ≲ {ttc} ∧ −dr/dt ≥ "
    "{closing}, T ≥ 0.3 s",
    find=_ttc_2d,
    roles=("actor", "other"),
    unit="s",
    parameters=(
        Parameter("ttc", 2.0, "s", "CriMe"),
        Parameter("closing", 1.0, "m/s", "own"),
    ),
    symmetric=True,
    version=4,
)
THW = Predicate(
    name="thw",
    group=GROUP,
    doc="Time headway to the leader below 1 s.",
    formula="THW = gap₊ / v ≲ {thw} ∧ v ≥ {speed}",
    find=_thw,
    roles=("actor", "other"),
    unit="s",
    parameters=(
        Parameter("thw", 1.0, "s", "SafeShift gives 2 s for attention, 1 s is its half"),
        Parameter("speed", 2.0, "m/s", "own"),
    ),
    needs=("map",),
    only=(DRIVING,),
)
PET = Predicate(
    name="pet",
    group=GROUP,
    doc="The other enters ground that the actor left under 3 s before, on a way that crosses.",
    formula="PET = (t_other,enters − t_actor,leaves)₊ ≤ {pet}",
    find=_pet,
    roles=("actor", "other"),
    unit="s",
    parameters=(Parameter("pet", 3.0, "s", "own: CriMe's conflict index looks at PET below 5 s"),),
)
DRAC = Predicate(
    name="drac",
    group=GROUP,
    doc="Must brake at 3 m/s² or more not to hit a leader that keeps its speed.",
    formula="DRAC = (v − v_lead)₊² / (2 gap) ≳ {drac}, T ≥ 0.3 s",
    find=_drac,
    roles=("actor", "other"),
    unit="m/s²",
    parameters=(Parameter("drac", 3.0, "m/s²", "SafeShift"),),
    needs=("map",),
    only=(DRIVING,),
)
A_REQ = Predicate(
    name="a_req",
    group=GROUP,
    doc="Must brake at 5 m/s² or more not to hit a leader that keeps its acceleration.",
    formula="(v − v_lead)₊² / (2 gap) + b ≳ {a_req}, or v² / (2 (gap + v_lead² / (2 b))) "
    "if the leader stops first; b = (−a_lead)₊; T ≥ 0.3 s",
    find=_a_req,
    roles=("actor", "other"),
    unit="m/s²",
    parameters=(Parameter("a_req", 5.0, "m/s²", "UN R157 collision risk"),),
    needs=("map",),
    only=(DRIVING,),
)
ALONG = (
    Parameter("response", RSS.response_s, "s", "RSS, with a value of our own"),
    Parameter("accelerates", RSS.accelerates, "m/s²", "RSS, with a value of our own"),
    Parameter("brakes_least", RSS.brakes_least, "m/s²", "RSS, with a value of our own"),
    Parameter("brakes_most", RSS.brakes_most, "m/s²", "RSS, with a value of our own"),
)
ASIDE = (
    Parameter("drifts", RSS.drifts, "m/s²", "RSS, as ad-rss-lib sets it"),
    Parameter("brakes_aside", RSS.brakes_aside, "m/s²", "RSS, as ad-rss-lib sets it"),
    Parameter("margin", RSS.margin, "m", "RSS, with a value of our own"),
)
RSS_VIOLATION = Predicate(
    name="rss_violation",
    group=GROUP,
    doc="Nearer to the leader than responsibility-sensitive safety allows; value: metres lacking.",
    formula="gap < [v ρ + A ρ²/2 + (v + A ρ)² / (2 b) − v_lead² / (2 B)]₊ ∧ v ≥ {speed}; ρ "
    "= {response}, A = {accelerates}, b = {brakes_least}, B = {brakes_most}",
    find=_rss_violation,
    roles=("actor", "other"),
    unit="m",
    parameters=(
        *ALONG,
        Parameter("speed", 2.0, "m/s", "own"),
    ),
    needs=("map",),
    only=(DRIVING,),
)
RSS_ONCOMING = Predicate(
    name="rss_oncoming",
    group=GROUP,
    doc="One comes the other way in the actor's lane, outside intersections, nearer than "
    "responsibility-sensitive safety allows; value: metres lacking.",
    formula="gap < (v + V) ρ/2 + V² / (2 C) + (v_other + U) ρ/2 + U² / (2 b), V = v + A ρ, U = v_other + "
    "A ρ; ρ = {response}, A = {accelerates}, C = {brakes_correct}, b = {brakes_least}; gap along the actor's "
    "way, |d_other − d| < (w + w_other)/2 + 0.2 m ∧ |ψ_other − ψ_lane| ≥ 135° ∧ v_other ≥ {speed}; "
    "neither in_intersection",
    find=_rss_oncoming,
    roles=("actor", "other"),
    unit="m",
    parameters=(
        Parameter("response", RSS.response_s, "s", "RSS, with a value of our own"),
        Parameter("accelerates", RSS.accelerates, "m/s²", "RSS, with a value of our own"),
        Parameter("brakes_correct", RSS.brakes_correct, "m/s²", "RSS, as ad-rss-lib sets it"),
        Parameter("brakes_least", RSS.brakes_least, "m/s²", "RSS, with a value of our own"),
        Parameter("speed", 2.0, "m/s", "own"),
    ),
    needs=("map",),
    version=1,
)
BTN = Predicate(
    name="btn",
    group=GROUP,
    doc="Brake threat number of 1 or more: the braking that is needed is all there is.",
    formula="BTN = a_req / {available} ≳ {btn}, T ≥ 0.2 s",
    find=_btn,
    roles=("actor", "other"),
    unit="1",
    parameters=(
        Parameter("btn", 1.0, "1", "CriMe: by definition"),
        Parameter("available", BRAKING_AVAILABLE, "m/s²", "RSS brakes_most"),
    ),
    needs=("map",),
    only=(DRIVING,),
)
STN = Predicate(
    name="stn",
    group=GROUP,
    doc="Steer threat number of 1 or more: only a harder swerve than there is passes the leader.",
    formula="STN = 2 min(W + Y, W − Y)₊ / TTC² / {available} ≳ {stn} ∧ v − v_lead ≥ "
    "{closing}, T ≥ 0.2 s; W = (w + w_lead)/2, Y = (d_lead − d) + TTC d/dt (D_lead "
    "− D)",
    find=_stn,
    roles=("actor", "other"),
    unit="1",
    parameters=(
        Parameter("stn", 1.0, "1", "CriMe: by definition"),
        Parameter("available", STEERING_AVAILABLE, "m/s²", "CriMe a_lat_max"),
        Parameter("closing", 3.0, "m/s", "own: less is mended by easing off"),
    ),
    needs=("map",),
    only=(DRIVING,),
)
MTTCP = Predicate(
    name="mttcp",
    group=GROUP,
    doc="At their speeds both would come to where their ways cross less than 4 s after each other.",
    formula="|e/v − e_other/v_other| ≲ {mttcp}, T ≥ 0.2 s; e: way driven until where the "
    "ways cross",
    find=_mttcp,
    roles=("actor", "other"),
    unit="s",
    parameters=(Parameter("mttcp", 4.0, "s", "SafeShift"),),
)
ET = Predicate(
    name="et",
    group=GROUP,
    doc="Stays for 3 s or more on ground that the other crosses under 3 s before or after.",
    formula="t_leaves − t_enters + Δt ≥ {et} ∧ PET ≤ {pet}",
    find=_et,
    roles=("actor", "other"),
    unit="s",
    parameters=(
        Parameter("et", 3.0, "s", "own"),
        Parameter("pet", 3.0, "s", "own, as for pet"),
    ),
)
DCE = Predicate(
    name="dce",
    group=GROUP,
    doc="Within 3 s the outlines will pass at 0.5 m or less if both keep velocity and heading.",
    formula="DCE = min clear over t ≤ 5 s at constant velocity and heading ≲ {dce} ∧ TTCE "
    "= its t ≤ {ttce} ∧ −dr/dt ≥ {closing} ∧ clear > 0, T ≥ 0.3 s",
    find=_dce,
    roles=("actor", "other"),
    unit="m",
    parameters=(
        Parameter("dce", 0.5, "m", "nuPlan-KG hasConflictRiskWith"),
        Parameter("ttce", 3.0, "s", "nuPlan metrics: horizon of the time to collision"),
        Parameter("closing", 1.0, "m/s", "own"),
    ),
    symmetric=True,
)
WTTC = Predicate(
    name="wttc",
    group=GROUP,
    doc="Worst-case time to collision of 1 s or less: were both to do the worst that they can, they could "
    "touch so soon (of the ego and others; of any two if there is no ego). A filter: of whom it is not "
    "told, nothing critical can happen within that time.",
    formula="min t: r(t) ≤ (diagonal + diagonal_other)/2 + (A + A_other) t²/2 at constant velocity, ≲ {wttc}, "
    "T ≥ 0.3 s; A = {acceleration}, 0 of things",
    find=_wttc,
    roles=("actor", "other"),
    unit="s",
    parameters=(
        Parameter("wttc", 1.0, "s", "own"),
        Parameter("acceleration", CAPABLE, "m/s²", "RSS brakes_most, CriMe a_lat_max"),
    ),
    symmetric=True,
    of_ego=True,
    ordinary=True,
    version=1,
)
RSS_LATERAL = Predicate(
    name="rss_lateral",
    group=GROUP,
    doc="Beside or behind the other, which comes nearer from the side than responsibility-sensitive "
    "safety allows; value: metres lacking.",
    formula="0 < g < {margin} + [D(0) + D(u)]₊ ∧ u ≥ {toward} ∧ gap along < RSS's, T ≥ 0.3 "
    "s; D(u) = (u + U) ρ/2 + U₊² / (2 {brakes_aside}), U = u + {drifts} ρ, ρ = "
    "{response}; RSS's along as in rss_violation by {accelerates}, {brakes_least}, "
    "{brakes_most}; g: gap aside, u: closing speed aside",
    find=_rss_lateral,
    roles=("actor", "other"),
    unit="m",
    parameters=(
        Parameter("toward", 0.3, "m/s", "own: slower is the wobble of straight driving"),
        *ALONG,
        *ASIDE,
    ),
)
RSS_DANGER = Predicate(
    name="rss_danger",
    group=GROUP,
    doc="Too near the other both along and aside by responsibility-sensitive safety, and not "
    "responding as it asks; value: seconds since the danger threshold.",
    formula="since t0 both gaps are less than RSS's (as in rss_lateral: {response}, "
    "{accelerates}, {brakes_least}, {brakes_most}, {drifts}, {brakes_aside}, "
    "{margin}) ∧ response improper: t < t0 + ρ ∧ a > A, or t ≥ t0 + ρ ∧ (u > "
    "{still} if the gap aside became unsafe last, else a > −b ∧ v > 0.1 m/s)",
    find=_rss_danger,
    roles=("actor", "other"),
    unit="s",
    parameters=(
        *ALONG,
        *ASIDE,
        Parameter("still", 0.2, "m/s", "own: a lateral speed that counts as none"),
    ),
)
DELTA_V = Predicate(
    name="delta_v",
    group=GROUP,
    doc="Within 2 s of a crash that would change the actor's velocity by 8.3 m/s or more; masses "
    "are typical of the class.",
    formula="m_other / (m + m_other) |velocity − velocity_other| ≳ {delta_v} ∧ TTC_2D ≤ "
    "{ttc} ∧ clear > 0, T ≥ 0.3 s",
    find=_delta_v,
    roles=("actor", "other"),
    unit="m/s",
    parameters=(
        Parameter("delta_v", 8.3, "m/s", "own: 30 km/h, from where serious injury is likely"),
        Parameter("ttc", 2.0, "s", "CriMe"),
    ),
)
TET = Predicate(
    name="tet",
    group=GROUP,
    doc="In all 1 s or more at a time to collision with the leader of 2 s or less.",
    formula="TET = Σ Δt where TTC ≤ {tau}, ≥ {tet}",
    find=_tet,
    roles=("actor", "other"),
    unit="s",
    parameters=(
        Parameter("tet", 1.0, "s", "own"),
        Parameter("tau", EXPOSED_S, "s", "CriMe"),
    ),
    needs=("map",),
    only=(DRIVING,),
)
TIT = Predicate(
    name="tit",
    group=GROUP,
    doc="Time to collision with the leader short of 2 s by 0.5 s² or more, summed over time.",
    formula="TIT = Σ ({tau} − TTC)₊ Δt ≥ {tit}",
    find=_tit,
    roles=("actor", "other"),
    unit="s²",
    parameters=(
        Parameter("tit", 0.5, "s²", "own: half a second's lack for one second"),
        Parameter("tau", EXPOSED_S, "s", "CriMe"),
    ),
    needs=("map",),
    only=(DRIVING,),
)
CPI = Predicate(
    name="cpi",
    group=GROUP,
    doc="Crash potential index of 0.01 or more: mean chance that braking falls short.",
    formula="CPI = mean over t of P(MADR ≤ DRAC) ≥ {cpi}; MADR ~ N({mean}, {deviation}²) "
    "cut off to [{least}, {most}]",
    find=_cpi,
    roles=("actor", "other"),
    unit="1",
    parameters=(
        Parameter("cpi", 0.01, "1", "own: one step in a hundred beyond the brakes"),
        Parameter("mean", MADR_MEAN, "m/s²", "CriMe: available deceleration"),
        Parameter("deviation", MADR_DEVIATION, "m/s²", "CriMe"),
        Parameter("least", MADR_LEAST, "m/s²", "CriMe"),
        Parameter("most", MADR_MOST, "m/s²", "CriMe"),
    ),
    needs=("map",),
    only=(DRIVING,),
)
KALMAN_DIFFICULTY = Predicate(
    name="kalman_difficulty",
    group=GROUP,
    doc="A constant-velocity Kalman forecast from the anchor is off by 50 m or more at the longest "
    "of 2, 4 and 6 s that is observed.",
    formula="|xy − forecast| ≥ {epe} at the longest of 2, 4, 6 s after the anchor that is seen",
    find=_kalman_difficulty,
    unit="m",
    parameters=(
        Parameter("epe", 50.0, "m", "UniTraj calls these challenging; SafeShift's threshold too"),
    ),
)
COUNTERFACTUAL_DELTA = Predicate(
    name="counterfactual_delta",
    group=GROUP,
    doc="Had the other kept its velocity from the anchor on, the worst criticality to the ego would "
    "have been higher by 0.2 (1 is contact, 0 is 5 s from it).",
    formula="S(kept velocity) − S(as it was) ≥ {delta}; S = 1 − min(t_contact, 5 s) / 5 s "
    "at its worst in 5 s from the anchor",
    find=_counterfactual_delta,
    roles=("actor", "other"),
    unit="1",
    parameters=(Parameter("delta", 0.2, "1", "SafeShift counterfactual probe"),),
    needs=("ego",),
)
COLLISION = Predicate(
    name="collision",
    group=GROUP,
    doc="Two that were seen apart meet at 1 m/s or more, and their boxes overlap by over 35 cm on "
    "each side. Unknown where they overlap less, since first seen, or sizes are not told. Not: "
    "what moves as one (trailers, riders), people on foot at a vehicle that stands.",
    formula="boxes drawn in by {slack} overlap ∧ drawn in by {certain} overlap at some "
    "step ∧ |velocity − velocity_other| ≥ {speed}, T ≥ 0.2 s; clear > 0 before; "
    "not: class = pedestrian ∧ max v_other < {walked_into}",
    find=_collision,
    roles=("actor", "other"),
    unit="m/s",
    parameters=(
        Parameter("slack", 0.1, "m", "own: annotation noise"),
        Parameter("certain", 0.35, "m", "own: deeper than any overlap of crash-free AV2 logs"),
        Parameter("speed", 1.0, "m/s", "own: relative; people step in and out of vehicles"),
        Parameter("walked_into", 0.5, "m/s", "own: a vehicle that does not hit, but is touched"),
    ),
    symmetric=True,
    version=4,
)
NEAR_MISS = Predicate(
    name="near_miss",
    group=GROUP,
    doc="No contact, but under 0.95 s from one at the speeds and turn rates of the moment, with "
    "hard braking needed; or over the other's way under 1 s after it left. Unknown of one who is seen for less "
    "than 0.5 s in all: a slip of the tracker, most likely.",
    formula="TTC_2D ≲ {ttc} ∧ −dr/dt ≥ {closing} ∧ −dr/dt / (2 TTC_2D) ≥ {braking} ∧ "
    "overlap within 1.1 {ttc} at constant v and ω, T ≥ 0.2 s; or PET ≤ {pet} ∧ "
    "max(v, v_other) ≥ {closing}; boxes drawn in by {slack} never overlap; unknown if either is seen for < {seen}",
    find=_near_miss,
    roles=("actor", "other"),
    unit="s",
    parameters=(
        Parameter("ttc", 0.95, "s", "nuPlan time-to-collision bound"),
        Parameter("closing", 3.0, "m/s", "own"),
        Parameter("braking", 4.05, "m/s²", "nuPlan comfort bound of deceleration"),
        Parameter("pet", 1.0, "s", "own"),
        Parameter("slack", 0.1, "m", "own: annotation noise"),
        Parameter("seen", 0.5, "s", "own: shorter events are dropped, too"),
    ),
    symmetric=True,
    version=5,
)
