"""From a request to scenarios in the lake: choose parents, draw, gate, store, measure again.

Everything that was drawn is kept: what passes every gate becomes a scene of the lake like any
other, tagged by the same predicates that found the gap; what does not stands in ``generated`` with
the first gate that it failed and the value that failed it.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from generation.aslog import as_log
from generation.behaviours import BEHAVIOURS, Behaviour, behaviour_for, behaviours_for_tag
from generation.checkpoint import Generator, load_generator
from generation.compose import Candidate
from generation.draw import Draft, draw
from generation.features import HORIZON, Pieces
from generation.gates import Gate, HasTags, Shows, Verdict, off_map_share, own_gates
from generation.proposals import Proposal, Stage
from generation.request import Request
from lake import Lake
from lake.dense import PACKING, pack_tracks
from lake.ids import stable_id
from lake.localise import localise
from lake.scenes import cut
from mining.coverage import gap as measure_gap
from mining.looked import looked
from mining.predicates import PREDICATES
from mining.query.find import understood
from mining.query.rule import Rule
from mining.query.rules import meanings, rules_of
from mining.query.tagging import tag_rules
from mining.query.tree import Actor, Call, Query
from mining.tag import tag
from schemas.errors import MissingData, UnknownName
from schemas.labels import Daylight, Weather
from schemas.records import Log
from schemas.scene import Scene

DRAWS_A_PROPOSAL = 4
"""How often a rule is asked for another variation before the next parent is tried."""
VARIATION = 0.7
"""Least γ where nothing is aimed at: who is to show a tag by chance must differ from the log."""
SURPLUS = "surplus"
"""Told of candidates that passed every gate when enough had passed before them."""
FAILURES = 2
"""After how many failed candidates a parent lets another go first."""
PATIENCE = 2
"""How often in a row a parent may refuse a behaviour, where there are many."""
SEARCHES = 24
"""How often in a row all of few parents may."""
LEAST_FUTURE = HORIZON // 2
PARENTS = 48
"""Parents that are read at most; candidates go round them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """An accepted scene.

    Attributes:
        scene_id: Of ``scenes``.
        parent_scene_id: Whose map, signals and history it uses.
        gates: The value of every gate that it passed.
    """

    scene_id: int
    parent_scene_id: int
    gates: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class GapChange:
    """How many scenes filled the cell before and after, of logs and generated."""

    before: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateReport:
    """What became of a request.

    Attributes:
        requested: Scenarios wanted.
        accepted: Scenarios stored.
        rejected: Candidates that failed a gate.
        reasons: Gate to how many it rejected.
        scenarios: The accepted ones.
        gap: Of a request for one.
        unsuitable: How often a parent did not allow what was asked, so that nothing was drawn.
        run_id: The run that made them.
    """

    requested: int
    accepted: int
    rejected: int
    reasons: Mapping[str, int]
    scenarios: Sequence[Scenario]
    gap: GapChange | None
    unsuitable: int
    run_id: int

    def answer(self) -> dict[str, Any]:
        """As ``generate --json`` prints it."""
        return {
            "requested": self.requested,
            "accepted": self.accepted,
            "rejected": self.rejected,
            "reasons": dict(self.reasons),
            "scenarios": [
                {
                    "scene_id": str(s.scene_id),
                    "parent_scene_id": str(s.parent_scene_id),
                    "gates": dict(s.gates),
                }
                for s in self.scenarios
            ],
            "gap": None if self.gap is None else asdict(self.gap),
            "unsuitable": self.unsuitable,
            "run_id": str(self.run_id),
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parent:
    """A scene of the lake made ready for drawing.

    Attributes:
        scene: In the conditions that the request wants.
        stage: Its ego's way at the start step.
        pieces: Of its map.
        off_map: Share of its vehicles' steps off the road.
        changed: Whether its weather or daylight is not the one that was recorded.
    """

    scene: Scene
    stage: Stage
    pieces: Pieces
    off_map: float
    changed: bool = False


@dataclass(slots=True, kw_only=True, eq=False)
class _Judged:
    """A candidate, its parent, and what the gates said."""

    candidate: Candidate
    parent: Parent
    seed: int
    behaviour: Behaviour | None
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    failed: str | None = None
    log: Log | None = None

    @property
    def tracks(self) -> bytes:
        return pack_tracks(self.candidate.scene.tracks)

    def ask(self, gate: Gate, verdict: Verdict) -> None:
        self.verdicts[gate.name] = verdict
        if not verdict.passed:
            self.failed = gate.name


def generate(
    lake: Lake,
    request: Request,
    gates: Sequence[Gate] = (),
    *,
    generator: Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> GenerateReport:
    """Make scenarios until enough pass every gate or the budget is spent.

    Args:
        lake: Whose scenes are parents, and which takes up what is accepted.
        request: What is wanted.
        gates: Asked after the generator's own, of all candidates that are left, in order.
        generator: The shipped one by default.
        progress: Called with (accepted, wanted).

    Raises:
        UnknownName: There is no such gap, scene, tag or adversary.
        MissingData: No scene of the lake can be a parent.
    """
    generator = generator or load_generator()
    rules = rules_of(lake)
    tags, conditions = _wanted(lake, request, rules)
    behaviours = _behaviours(request, tags, rules)
    parents = _parents(lake, request, tags, conditions, rules)
    shown = _shown(request, tags, rules)
    before = measure_gap(lake, request.gap_id) if request.gap_id else None
    told = asdict(request) | {"tags": list(tags)}
    with lake.run("generate", params=told, seed=request.seed, model=generator.name) as run:
        accepted: list[_Judged] = []
        rejected: list[_Judged] = []
        unsuitable = made = 0
        failures = Counter[int]()
        source = _drafts(parents, behaviours, request, failures)
        while len(accepted) < request.n and made < request.candidates:
            lacking = max(2 * (request.n - len(accepted)), 4)
            size = min(request.batch, lacking, request.candidates - made)
            batch, idle = _next(source, size)
            unsuitable += idle
            if not batch:
                break
            made += len(batch)
            judged = _drawn(generator, batch, request)
            _judge(judged, tags, shown, gates, run_id=run.id, first=made - len(batch))
            failures.update(one.parent.scene.scene_id for one in judged if one.failed)
            for one in judged:
                if one.failed is None and len(accepted) >= request.n:
                    one.failed = SURPLUS
                (rejected if one.failed else accepted).append(one)
            if progress is not None:
                progress(len(accepted), request.n)
        scenarios = _store(lake, accepted, rejected, request, run_id=run.id, model=generator.name)
        reasons = Counter(one.failed for one in rejected if one.failed)
        surplus = reasons.pop(SURPLUS, 0)
        run.summary.update(
            accepted=len(accepted), rejected=len(rejected) - surplus, surplus=surplus, reasons=dict(reasons),
            unsuitable=unsuitable,
        )  # fmt: skip
        run_id = run.id
    if scenarios:
        tag(lake, scene_ids=[scenario.scene_id for scenario in scenarios])
        kept = [rules[name] for name in tags if name not in PREDICATES]
        if kept:
            tag_rules(lake, kept)
    change = None
    if before is not None and request.gap_id is not None:
        after = measure_gap(lake, request.gap_id)
        change = GapChange(
            before=before.count + before.generated, after=after.count + after.generated
        )
        _update_gap(lake, request.gap_id, after.generated)
    return GenerateReport(
        requested=request.n, accepted=len(accepted), rejected=len(rejected) - surplus,
        reasons=dict(reasons.most_common()), scenarios=scenarios, gap=change,
        unsuitable=unsuitable, run_id=run_id,
    )  # fmt: skip


def _wanted(
    lake: Lake, request: Request, rules: Mapping[str, Rule]
) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """The tags that must be true, and the cell's road type, weather and daylight."""
    for name in request.tags:
        if name not in PREDICATES and name not in rules:
            raise UnknownName("predicate or rule", name, [*PREDICATES, *rules])
    if request.gap_id is None:
        own: tuple[str, ...] = ()
        if not request.tags and request.adversary is not None:
            own = behaviour_for(request.adversary).tags[:1]
        return request.tags or own, {}
    cell = measure_gap(lake, request.gap_id).cell
    return (
        tuple(dict.fromkeys([cell.tag, *request.tags])),
        {"road_type": cell.road_type, "weather": cell.weather, "daylight": cell.daylight},
    )


def _shown(request: Request, tags: Sequence[str], rules: Mapping[str, Rule]) -> list[Shows]:
    """Gates of the queries that must hold: the request's own, and those of rules among the tags.

    Raises:
        BadQuery: The request's query cannot be asked.
    """
    calls = [rules[name] for name in tags if name not in PREDICATES]
    queries = [str(Call(rule.name, tuple(map(Actor, rule.actors)))) for rule in calls]
    if request.query is not None:
        understood(request.query, rules)
        queries.append(request.query)
    return [Shows(query=query, rules=rules) for query in queries]


def _behaviours(
    request: Request, tags: Sequence[str], rules: Mapping[str, Rule]
) -> list[Behaviour | None]:
    """Those that can make the first tag true, or the first predicate of a rule or query that any can."""
    if request.adversary is not None:
        return [BEHAVIOURS[request.adversary]]
    first = tags[0] if tags else None
    if first is not None and first in rules:
        names = Query(rules[first].node).names
    elif first is None and request.query is not None:
        names = understood(request.query, rules).names
    else:
        names = [] if first is None else [first]
    made = (behaviours_for_tag(name) for name in names)
    return list(next((found for found in made if found), [None]))


def _parents(
    lake: Lake,
    request: Request,
    tags: Sequence[str],
    conditions: Mapping[str, str],
    rules: Mapping[str, Rule],
) -> list[Parent]:
    """Scenes to draw from, those without the tag first, shuffled by the seed."""
    if request.like is not None:
        parent = _parent(lake.scene(request.like), {})
        if parent is None:
            raise MissingData(
                f"Scene {request.like} cannot be varied: it has no ego at its start step, or under "
                f"{LEAST_FUTURE / 10:.0f} s of future.",
                hint="Choose a longer scene with an ego.",
            )
        return [parent]
    table = lake.read(
        "scenes",
        ["scene_id", "road_type", "weather", "daylight", "has_ego", "has_map", "source"],
        where="source = 'log'",
    ).to_pylist()
    usable = [row for row in table if row["has_ego"] and row["has_map"]]
    # Motion does not know the weather: a scene of the road type may take on the cell's conditions,
    # where those that have them do not suffice.
    there = [r for r in usable if conditions.get("road_type") in (None, r["road_type"])]

    def differs(row: Mapping[str, Any]) -> bool:
        return any((row[name] or "unknown") != value for name, value in conditions.items())

    if not there:
        where = f" of road type {conditions['road_type']}" if conditions else ""
        raise MissingData(
            f"The lake has no scene{where} with an ego and a map to generate from.",
            hint="Ingest logs that have them.",
        )
    have = _tagged(lake, tags, rules)
    random = np.random.default_rng([request.seed, 1])
    shuffled = [there[int(k)] for k in random.permutation(len(there))]
    shuffled.sort(key=lambda row: (differs(row), row["scene_id"] in have))
    chosen = [int(row["scene_id"]) for row in shuffled[:PARENTS]]
    order = {scene_id: k for k, scene_id in enumerate(chosen)}
    changed = {int(row["scene_id"]) for row in shuffled if differs(row)}
    scenes = sorted(lake.scenes(chosen), key=lambda scene: order[scene.scene_id])
    parents = [p for scene in scenes if (p := _parent(scene, conditions)) is not None]
    parents = [replace(p, changed=p.scene.scene_id in changed) for p in parents]
    if not parents:
        raise MissingData(
            f"None of {len(scenes)} scenes has an ego at its start step and "
            f"{LEAST_FUTURE / 10:.0f} s of future.",
            hint="Ingest longer logs.",
        )
    return parents


def _parent(scene: Scene, conditions: Mapping[str, str]) -> Parent | None:
    start = scene.anchor
    if not scene.has_ego or scene.steps - 1 - start < LEAST_FUTURE:
        return None
    if not scene.tracks.valid[0, start] or scene.tracks.valid[0, start:].sum() < LEAST_FUTURE:
        return None
    weather, daylight = conditions.get("weather"), conditions.get("daylight")
    if weather is not None:
        scene = replace(
            scene,
            weather=None if weather == "unknown" else Weather.of(weather),
            daylight=None if daylight in (None, "unknown") else Daylight.of(str(daylight)),
        )
    share = off_map_share(scene, range(len(scene.tracks.cls)), start)
    return Parent(
        scene=scene, stage=Stage.of(scene, start), pieces=Pieces.of(scene.map),
        off_map=share or 0.0,
    )  # fmt: skip


def _tagged(lake: Lake, tags: Sequence[str], rules: Mapping[str, Rule]) -> set[int]:
    """Scenes in which the first of the tags is known to be true already, as it is meant now."""
    if not tags:
        return set()
    now = looked(lake, meanings(tags[:1], rules))
    rows = lake.sql(f"SELECT DISTINCT scene_id FROM events WHERE truth = 'true' AND {now.rows}")
    return {int(scene_id) for scene_id in rows["scene_id"].drop_null().to_pylist()}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Drafted:
    draft: Draft
    parent: Parent
    behaviour: Behaviour | None


def _drafts(
    parents: Sequence[Parent],
    behaviours: Sequence[Behaviour | None],
    request: Request,
    failures: Counter[int],
) -> Iterator[_Drafted | None]:
    """Drafts without end, going round parents and behaviours; None where a parent is unsuited.

    Parents whose candidates fail come later (``failures`` counts them by scene), and so do those
    in other conditions than were recorded. One that refuses time after time is asked no more; the
    drafts end when nobody is left.
    """
    most = max(PATIENCE, SEARCHES // len(parents)) * len(behaviours)
    patience = dict.fromkeys(range(len(parents)), most)
    uses = Counter[int]()

    def turn(row: int) -> tuple[int, int, int]:
        failed = failures[parents[row].scene.scene_id] // FAILURES
        return failed + FAILURES * parents[row].changed, uses[row], row

    for count in itertools.count():
        left = [row for row, more in patience.items() if more > 0]
        if not left:
            return
        row = min(left, key=turn)
        parent, behaviour = parents[row], behaviours[uses[row] % len(behaviours)]
        uses[row] += 1
        seed = stable_id("candidate", request.seed, count) % 2**31
        random = np.random.default_rng(seed)
        proposal: Proposal | None
        if behaviour is None:
            proposal = Proposal(scene=parent.scene, actor=0, added=False)
        else:
            proposal = next(
                (
                    p
                    for _ in range(DRAWS_A_PROPOSAL)
                    if (p := behaviour.propose(parent.stage, random, request.aggressiveness))
                ),
                None,
            )
        if proposal is None:
            patience[row] -= 1
            yield None
            continue
        patience[row] = most
        draft = Draft(proposal=proposal, start=parent.stage.start, pieces=parent.pieces, seed=seed)
        yield _Drafted(draft=draft, parent=parent, behaviour=behaviour)


def _next(source: Iterator[_Drafted | None], size: int) -> tuple[list[_Drafted], int]:
    """The next drafts, all of one behaviour, and how many parents were unsuited meanwhile."""
    batch: list[_Drafted] = []
    idle = 0
    for drafted in source:
        if drafted is None:
            idle += 1
        else:
            batch.append(drafted)
        if len(batch) == size:
            break
    return batch, idle


def _drawn(generator: Generator, batch: Sequence[_Drafted], request: Request) -> list[_Judged]:
    """Sample a batch, one behaviour at a time."""
    judged: dict[int, _Judged] = {}
    names = list(dict.fromkeys(d.behaviour.name if d.behaviour else "" for d in batch))
    for name in names:
        rows = [
            k for k, d in enumerate(batch) if (d.behaviour.name if d.behaviour else "") == name
        ]
        behaviour = batch[rows[0]].behaviour
        candidates = draw(
            generator.denoiser, [batch[k].draft for k in rows], behaviour,
            aggressiveness=request.aggressiveness,
            gamma=request.gamma * behaviour.gamma if behaviour else max(request.gamma, VARIATION),
            joint=request.joint or behaviour is None, steps=request.sampler_steps,
        )  # fmt: skip
        for k, candidate in zip(rows, candidates, strict=True):
            judged[k] = _Judged(
                candidate=candidate, parent=batch[k].parent, seed=batch[k].draft.seed,
                behaviour=behaviour,
            )  # fmt: skip
    return [judged[k] for k in range(len(batch))]


def _judge(
    judged: Sequence[_Judged], tags: Sequence[str], shown: Sequence[Shows], gates: Sequence[Gate], *,
    run_id: int, first: int,
) -> None:  # fmt: skip
    """Ask the gates in order; each candidate stops at the first that says no."""
    for number, one in enumerate(judged, start=first):
        for gate in own_gates(one.candidate, one.parent.scene, off_map=one.parent.off_map):
            one.ask(gate, gate.check([one.candidate.scene], one.candidate.start)[0])
            if one.failed:
                break
        if one.failed:
            continue
        _enter(one, run_id=run_id, number=number)
        own = tuple(name for name in tags if name in PREDICATES)
        if own:
            tagged = HasTags(tags=own, altered=one.candidate.altered)
            one.ask(tagged, tagged.check([one.candidate.scene], one.candidate.start)[0])
    altered = {
        one.candidate.scene.scene_id: one.candidate.altered for one in judged if not one.failed
    }
    for gate in (*(replace(gate, altered=altered) for gate in shown), *gates):
        left = [one for one in judged if one.failed is None]
        for start in sorted({one.candidate.start for one in left}):
            group = [one for one in left if one.candidate.start == start]
            verdicts = gate.check([one.candidate.scene for one in group], start)
            for one, verdict in zip(group, verdicts, strict=True):
                one.ask(gate, verdict)


def _enter(one: _Judged, *, run_id: int, number: int) -> None:
    """Send the scene through the lake's own door, so that what is judged is what will be stored."""
    scene = one.candidate.scene
    extra = {
        "parent_scene_id": str(one.parent.scene.scene_id),
        "parent": one.parent.scene.name,
        "behaviour": one.behaviour.name if one.behaviour else "variation",
        "conditions": "as asked for" if one.parent.changed else "of the parent",
    }
    one.log = as_log(scene, log_id=f"generated-{run_id:x}-{number:04d}", extra=extra)
    (stored,) = cut(localise(one.log), source="generated")
    # Tracks are numbered anew: the ego 0, then those that are seen, in their order.
    seen = [
        int(i) for i, v in zip(scene.tracks.track_id, scene.tracks.valid, strict=True) if v.any()
    ]
    ids = {old: new for new, old in enumerate(seen)}
    candidate = one.candidate
    one.candidate = Candidate(
        scene=stored, start=candidate.start,
        altered=tuple(ids[i] for i in candidate.altered if i in ids),
        actor=None if candidate.actor is None else ids.get(candidate.actor),
    )  # fmt: skip


def _store(
    lake: Lake, accepted: Sequence[_Judged], rejected: Sequence[_Judged], request: Request, *,
    run_id: int, model: str,
) -> list[Scenario]:  # fmt: skip
    """Accepted logs into the lake, and everything drawn into ``generated``."""
    logs = [one.log for one in accepted if one.log is not None]
    if logs:
        lake.add_logs(logs, run_id=run_id, source="generated")
    told = json.dumps(asdict(request), sort_keys=True)
    rows = []
    for number, one in enumerate([*accepted, *rejected]):
        passed = number < len(accepted)
        rows.append(
            {
                "generated_id": stable_id("generated", run_id, number),
                "scene_id": one.candidate.scene.scene_id if passed else None,
                "parent_scene_id": one.parent.scene.scene_id,
                "gap_id": request.gap_id,
                "request": told,
                "accepted": passed,
                "failed_gate": one.failed,
                "gates": json.dumps({k: asdict(v) for k, v in one.verdicts.items()}),
                "model": model,
                "seed": one.seed,
                "tracks": one.tracks,
                "packing": PACKING,
                "run_id": run_id,
            }
        )
    if rows:
        lake.append("generated", rows)
    return [
        Scenario(
            scene_id=one.candidate.scene.scene_id, parent_scene_id=one.parent.scene.scene_id,
            gates={name: verdict.value for name, verdict in one.verdicts.items()},
        )
        for one in accepted
    ]  # fmt: skip


def _update_gap(lake: Lake, gap_id: str, generated: int) -> None:
    """The stored gap's own count follows, so that a reader of ``gaps`` need not measure again."""
    rows = lake.read("gaps", where=f"gap_id = '{gap_id}'").to_pylist()
    if rows:
        lake.replace(
            "gaps", [{**row, "generated": generated} for row in rows], where=f"gap_id = '{gap_id}'"
        )
