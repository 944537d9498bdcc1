"""How people say what predicates and facts mean.

A phrase is words; ``a|b`` is either of two, ``a|`` is a word that may be left out.

- ``in+front|ahead of``: what is joined by ``+`` is one choice.
- ``*brake`` is the verb, in whatever form; phrases without one begin with ``be``.
- ``{other}`` is somebody: the second role of the predicate, the subject then being the first.
  ``{actor}`` is the first, the subject then being the second (``be overtaken by {actor}``); ``<``
  before a phrase says so where nobody is named (``be overtaken``).
- ``{>}``, ``{<}``, ``{<=}`` are numbers with their unit, ``{?}`` a number after words that say how it
  compares (``more than 5 m/s2``).

What a phrase stands for is a predicate, or several joined by ``|`` or ``&``, ``not`` before one that
is denied. A predicate without phrases is said by its name, see :func:`phrases_of`.
"""

from __future__ import annotations

from collections.abc import Mapping

from mining.predicates import PREDICATES

EGO = (
    "the|my|our| ego car|vehicle|agent|", "the|our av|vut", "the autonomous|automated car|vehicle",
    "the self driving car|vehicle", "the host|own car|vehicle", "our|my car|vehicle", "we|us",
)  # fmt: skip

DOES: Mapping[str, tuple[str, ...]] = {
    "vru": ("be a vulnerable road user", "be a vru"),
    "long_vehicle": ("be a long vehicle", "be long"),
    "parked": ("be parked", "*stand parked"),
    "poorly_observed": ("be poorly observed|seen|tracked", "be badly observed|seen|tracked"),
    "stopped": (
        "be stopped|stationary|halted|motionless", "be at a standstill", "be at rest", "*stand still",
        "*stand",
    ),
    "low_speed": (
        "*creep", "*crawl", "*drive|move|go|travel|ride at a|very| low speed",
        "*drive|move|go|travel|ride very slowly",
    ),
    "medium_speed": ("*drive|move|go|travel|ride at a| medium|moderate speed",),
    "high_speed": (
        "*drive|move|go|travel|ride fast", "*drive|move|go|travel|ride at a| high speed", "be fast",
    ),
    "accelerating": ("*accelerate", "*gain speed", "*pick up speed", "*speed up"),
    "braking": ("*brake", "*decelerate", "*slow down", "*slow"),
    "hard_brake": (
        "*brake|decelerate hard|harshly|heavily|sharply|strongly", "hard|harshly|heavily|sharply *brake",
        "*slam on the brakes", "*make|perform an emergency stop", "emergency *brake",
    ),
    "harsh_accel": (
        "*accelerate hard|harshly|sharply|strongly", "hard|harshly|sharply *accelerate", "*floor it",
    ),
    "starting": ("*set|move|drive off", "*start moving|driving|", "*pull away", "*begin to move|drive"),
    "stopping": (
        "*stop", "*come to a stop|halt|standstill", "*brake to a stop|halt|standstill",
        "*slow down| to a stop|halt|standstill",
    ),
    "reversing": ("*reverse", "*drive|move|go|roll backwards|backward", "*back up"),
    "over_limit": (
        "*speed", "*exceed|break the speed limit", "*drive|be over|above the speed limit",
        "*drive|go too fast", "*drive faster than the speed limit", "be faster than the speed limit",
    ),
    "jerk_high": ("*jerk", "*drive|move jerkily", "*have a high jerk"),
    "turning_left": ("*turn left", "*turn to the left", "*make|take a left turn"),
    "turning_right": ("*turn right", "*turn to the right", "*make|take a right turn"),
    "turning_left | turning_right": ("*turn", "*make|take a turn"),
    "u_turn": ("*make|do|perform|take a u-turn", "*turn round|around", "*turn back"),
    "lat_accel_high": ("*corner|turn hard", "*corner fast|quickly", "*have a high lateral acceleration"),
    "yaw_rate_high": (
        "*turn|yaw sharply|abruptly|fast|quickly", "*have a high yaw rate", "*spin",
    ),
    "lane_change_left": (
        "*change lane|lanes left", "*change lane|lanes to the left", "*make|do a left lane change",
        "*make|do a lane change to the left", "*move|change|shift into|to the left lane",
    ),
    "lane_change_right": (
        "*change lane|lanes right", "*change lane|lanes to the right", "*make|do a right lane change",
        "*make|do a lane change to the right", "*move|change|shift into|to the right lane",
    ),
    "lane_change_left | lane_change_right": (
        "*change|switch lane|lanes", "*make|do|perform a lane change",
    ),
    "cut_in": (
        "*cut in", "*cut in on|before {other}", "*cut in| in+front|ahead of {other}", "*cut {other} off",
        "*cut off {other}", "*merge|pull in| in+front|ahead of {other}", "be cut off by {actor}",
        "< be cut off",
    ),
    "cut_out": (
        "*cut out", "*cut out in+front|ahead of {other}", "*leave the lane in+front|ahead of {other}",
    ),
    "overtake": ("*overtake|pass {other}", "*overtake", "be overtaken|passed by {actor}", "< be overtaken"),
    "nudge": (
        "*nudge", "*nudge|edge|squeeze round|around|past {other}", "*steer|swing round|around {other}",
        "*move aside for {other}",
    ),
    "swerve": ("*swerve", "*veer", "*dart aside|sideways", "*dart to the side"),
    "wrong_way": (
        "*drive|ride|go|travel the wrong way", "*drive|ride|go|travel in the wrong direction",
        "*drive|ride|go|travel against the| traffic", "be a wrong way driver", "be a ghost driver",
    ),
    "off_drivable": ("*leave the drivable area|surface", "*drive|go off the drivable area|surface"),
    "on_road": (),
    "not on_road": ("*leave the road|street|roadway",),
    "lane_straddling": (
        "*straddle the| lane|lanes", "*straddle the|a lane line|marking|boundary|edge",
        "*straddle two lanes", "*drive|be between two lanes", "*drive|be on the|a lane line|marking",
        "*drive|reach over the|its lane's| edge of its lane",
    ),
    "approaching_red": (
        "*approach the|a red light|signal", "*drive|move|head|go to|toward|towards the|a red light|signal",
    ),
    "red_light_running": (
        "*run|jump|ignore|cross|violate the|a red light|signal", "*cross|go|drive|ride on red",
        "*go|drive|ride through the|a red light|signal", "*cross the stop line on red",
    ),
    "stationary_at_light": (
        "*wait|stand|stop at the|a red|traffic| light|signal", "be stopped|stationary at the|a red|traffic| light|signal",
    ),
    "dilemma_yellow": (
        "*face a yellow|amber light|signal", "*face a yellow light dilemma", "be in the|a dilemma|yellow zone",
        "*approach a yellow|amber light|signal",
    ),
    "protected_turn": ("*make|take a protected turn", "*turn on a protected green"),
    "unprotected_turn": ("*make|take an unprotected turn", "*turn unprotected|unprotectedly"),
    "protected_turn & turning_left": ("*make|take a protected left turn",),
    "protected_turn & turning_right": ("*make|take a protected right turn",),
    "unprotected_turn & turning_left": ("*make|take an unprotected left turn",),
    "unprotected_turn & turning_right": ("*make|take an unprotected right turn",),
    "near": ("*come|get near|close {other}", "*come|get close to {other}"),
    "heading_toward": (
        "*head|drive|move|walk|run|ride|go|steer|come toward|towards {other}", "*head for {other}",
    ),
    "closing": ("*approach {other}", "*close in on {other}", "*get|come closer to {other}"),
    "count_near": (
        "be surrounded by vehicles|cars", "be hemmed in", "*have many vehicles|cars nearby|near it",
        "be surrounded",
    ),
    "behind_long": (
        "*drive|be close behind a long vehicle", "be hidden behind {other}", "*have no view past {other}",
        "*drive with no view past {other}",
    ),
    "following": (
        "*follow {other}", "*drive|ride|travel behind {other}", "be followed by {actor}", "*lead {actor}",
        "< be followed", "be led by {other}",
    ),
    "slow_lead": (
        "be held|slowed up|down by {other}", "*hold|slow up|down {actor}", "be stuck behind {other}",
        "*hold|slow {actor} up|down", "*have a slow leader", "*follow a slow leader",
        "*follow a slower vehicle|car|leader",
    ),
    "queuing": (
        "*queue", "*queue behind {other}", "*wait|stand|be in a queue", "be in a traffic jam", "*queue up",
    ),
    "tailgating": (
        "*tailgate {other}", "*tailgate", "*follow {other} too closely|close", "be tailgated by {actor}",
        "*drive too close|closely behind {other}", "< be tailgated",
    ),
    "crossed_by": (
        "be crossed by {other}", "*cross close|directly|right|just in+front|ahead of {actor}",
        "*walk|run|step|dart|jump out| in front of {actor}", "*step|walk|run into the path|way of {actor}",
    ),
    "crosses_in_front": (
        "*cross in+front|ahead of {other}", "*cross the path|way|course of {other}",
        "*go|drive across the path|way|course of {other}",
    ),
    "oncoming_turn_conflict": (
        "*turn left across the path|way of {other}", "*turn left across|before {other}",
        "*turn across the path|way of {other}", "*turn left in front of {other}",
        "*have an oncoming turn conflict with {other}", "*turn across oncoming traffic",
        "*turn left across oncoming traffic",
    ),
    "yields_to": (
        "*yield", "*yield to|for {other}", "*give way", "*give way to {other}", "*let {other} pass|go",
        "*let {other} go first",
    ),
    "blocked_by": (
        "be blocked", "be blocked by {other}", "*block {actor}", "*block the way|path|lane of {actor}",
        "be obstructed by {other}", "*obstruct {actor}",
    ),
    "jaywalking": ("*jaywalk", "*walk on|in the road|street|roadway away+from|outside a|any|the crosswalk"),
    "waiting_for_pedestrian": ("*wait|stop for {other}", "*wait|stop for {other} to cross", "*wait for a crossing pedestrian"),
    "a_req": (
        "*have to brake very hard for {other}", "*need to brake very hard for {other}",
    ),
    "drac": ("*have to brake hard for {other}", "*need to brake hard for {other}"),
    "rss_violation": (
        "*violate rss", "*violate the rss distance|rules to|of|towards {other}",
        "*violate the safe distance to|of {other}", "be too close to {other}", "be closer than rss allows",
        "be closer to {other} than rss allows", "*violate the rss distance",
    ),
    "collision": (
        "*collide", "*collide with {other}", "*crash", "*crash into|with {other}", "*hit|strike|ram {other}",
        "be hit|struck|rammed by {actor}", "*have a collision|crash with {other}",
    ),
    "near_miss": (
        "almost|nearly *hit|strike|ram {other}", "almost|nearly *collide|crash with|into {other}",
        "almost|nearly *collide|crash", "*have a near miss", "*have a near miss with {other}",
        "narrowly *miss {other}", "almost|nearly be hit|struck by {actor}",
    ),
    "ttc": (), "ttc_2d": (), "thw": (), "pet": (),
}  # fmt: skip
"""What somebody does or is. Those that are empty are said as places, or as measures."""

PLACES: Mapping[str, tuple[str, ...]] = {
    "on_road": ("on the road|street|roadway|carriageway", "in the roadway", "in a lane", "in its lane"),
    "not on_road": ("off|beside the road|street|roadway|carriageway",),
    "off_drivable": ("off|outside the drivable area|surface", "over the kerb|curb"),
    "in_intersection": ("in|inside|within an|the intersection|junction|crossing|crossroads",),
    "not in_intersection": ("outside an|the intersection|junction|crossroads",),
    "near_intersection": (
        "at|near an|the intersection|junction|crossroads", "close to an|the intersection|junction|crossroads",
    ),
    "not near_intersection": ("away from an|the intersection|junction|crossroads",),
    "at_crosswalk": (
        "at|on|in|near a|the crosswalk", "at|on|in|near a|the zebra|pedestrian crossing",
    ),
    "not at_crosswalk": (
        "outside|off a|the crosswalk", "outside|off a|the zebra|pedestrian crossing",
        "away from a|the crosswalk",
    ),
    "at_stop_sign": ("at|before a|the stop sign", "in front of a stop sign"),
    "roundabout": ("in|on|inside|at a|the roundabout",),
    "not roundabout": ("outside a|the roundabout",),
    "merge_zone": ("in|at a|the merge|merging zone|area", "on a merging lane"),
    "lane_straddling": ("between two lanes", "across the|a lane line|marking"),
    "near": ("near|beside {other}", "close|next to {other}", "in the vicinity of {other}"),
    "not near": ("far|away from {other}", "far away from {other}", "nowhere near {other}"),
    "same_lane": ("in the same lane as {other}", "in the lane of {other}"),
    "following": ("behind {other}", "ahead|in+front of {actor}"),
    "behind_long": ("close behind a long vehicle",),
    "stationary_at_light": ("in front of a red light|signal",),
}  # fmt: skip
"""Where somebody is: said after a verb, after `is`, or after who is meant."""

AT_SPEED = "speed"
COMPARED: Mapping[str, tuple[str, ...]] = {
    "braking": (
        "*brake|decelerate harder|stronger|more than {>}", "*brake|decelerate at|with|by {?}",
        "*slow down at|with {?}",
    ),
    "accelerating": (
        "*accelerate harder|stronger|faster|more than {>}", "*accelerate at|with|by {?}",
    ),
    AT_SPEED: (
        "*drive|move|go|travel|ride|be faster than {>}", "*drive|move|go|travel|ride at|with {?}",
        "*exceed {>}", "*have a speed {?}", "*have a speed of {?}", "*drive|move|go|travel|ride|be slower than {<}",
    ),
    "over_limit": (
        "*exceed|break the speed limit by {?}", "*drive|be over|above the speed limit by {?}",
    ),
    "near": (
        "*come|get within {<=} of {other}", "*come|get|be closer than {<} to {other}",
        "*come|get|be closer to {other} than {<}", "be {?} from|to {other}", "be {?} away from {other}",
    ),
    "rss_violation": ("*violate rss by {?}", "*violate the rss distance to {other} by {?}"),
    "jerk_high": ("*jerk harder than {>}", "*have a jerk {?}"),
    "lat_accel_high": ("*corner harder|faster than {>}", "*have a lateral acceleration {?}"),
    "yaw_rate_high": ("*turn faster than {>}", "*have a yaw rate {?}", "*have a yaw rate of {?}"),
}  # fmt: skip
COMPARED_PLACES: Mapping[str, tuple[str, ...]] = {
    "near": ("within {<=} of {other}", "closer than {<} to {other}", "{?} from {other}", "{?} away from {other}"),
    AT_SPEED: ("at|with {?}", "at|with a speed {?}", "at|with a speed of {?}"),
}  # fmt: skip

MEASURES: Mapping[str, tuple[str, ...]] = {
    "ttc": ("time to collision", "ttc"),
    "ttc_2d": ("two dimensional time to collision", "2d ttc", "2d time to collision", "ttc_2d"),
    "thw": ("time headway", "headway", "time gap", "thw"),
    "pet": ("post encroachment time", "pet"),
    "drac": ("deceleration rate to avoid a crash|collision", "drac"),
    "a_req": ("required deceleration", "a_req"),
    "near": ("distance",),
}
"""What one has towards another and compares: *a time to collision below 1.5 s*."""
LOW = "low|short|small|critical"
HIGH = "high|large|critical"
HIGH_MEASURES = {"drac", "a_req"}

EVENTS: Mapping[str, tuple[str, ...]] = {
    "cut_in": ("cut in",),
    "cut_out": ("cut out",),
    "near_miss": ("near miss", "near collision"),
    "collision": ("collision", "crash", "accident"),
    "hard_brake": ("hard brake", "hard braking", "emergency stop"),
    "swerve": ("swerve",),
    "u_turn": ("u-turn",),
    "lane_change_left | lane_change_right": ("lane change",),
    "overtake": ("overtaking manoeuvre|maneuver",),
    "rss_violation": ("rss violation",),
    "red_light_running": ("red light violation",),
    "oncoming_turn_conflict": ("oncoming turn conflict",),
}
"""What happens, as a noun: *a near miss between the ego and a cyclist*."""

_NIGHT = "during the night|dark|darkness"
FACTS: Mapping[str, tuple[str, ...]] = {
    "weather is clear": (
        "in|under clear weather", "in clear conditions", "under a clear sky", "in|under clear skies",
        "in the|bright| sunshine", "in sunny weather", "~the sky is clear", "~the weather is clear|fine|sunny|good",
        "~it is sunny",
    ),
    "weather is cloudy": (
        "in|under cloudy weather", "in cloudy conditions", "under a cloudy sky", "under cloudy skies",
        "under clouds", "~it is cloudy|overcast", "~the weather is cloudy|overcast", "~the sky is cloudy|overcast",
    ),
    "weather is rain": (
        "in|during|with the| rain", "in rainy weather|conditions", "~it rains|rained", "~it is|was raining|rainy",
        "~the weather is rain|rainy",
    ),
    "weather is snow": (
        "in|during|with the| snow", "in snowy weather|conditions", "in|during snowfall", "~it snows|snowed",
        "~it is|was snowing|snowy", "~the weather is snow|snowy",
    ),
    "weather is fog": (
        "in|during|with the| fog", "in foggy weather|conditions", "~it is|was foggy", "~there is fog",
        "~the weather is fog|foggy",
    ),
    "daylight is day": (
        "by day", "during the day", "during daytime", "in|by|during daylight", "at daytime", "in the daytime",
        "~it is|was day|daytime|daylight|light",
    ),
    "daylight is dusk": ("at|during dusk", "in the dusk", "at|in twilight", "~it is|was dusk"),
    "daylight is night": (
        "at|by night", _NIGHT, "in the dark", "in darkness", "at nighttime", "~it is|was night|dark",
    ),
    "road is roundabout": ("~the road is a roundabout",),
    "road is signalled_intersection": (
        "at|in|near a|the signalled|signaled|signalised|signalized|controlled intersection|junction|crossroads",
        "at|in an|the intersection|junction with traffic| lights|signals", "at traffic lights",
        "~the road is a signalled intersection",
    ),
    "road is intersection": (
        "at|in|near an|the unsignalled|unsignaled|unsignalised|unsignalized|uncontrolled intersection|junction|crossroads",
        "at|in an|the intersection|junction without traffic| lights|signals",
        "~the road is an unsignalled intersection",
    ),
    "road is merge": ("at a|the merge", "on a|the ramp|slip road", "on an on-ramp|onramp", "~the road is a merge"),
    "road is highway": (
        "on a|the highway|motorway|freeway|expressway|interstate", "~the road is a highway|motorway|freeway",
    ),
    "road is curve": ("in|on a|the curve|bend", "on a|the curved|winding road", "~the road is a curve"),
    "road is straight": ("on a|the straight road|street|stretch", "on a straight", "~the road is straight"),
    "road is unknown": ("on an|the unknown kind of road", "~the road is unknown"),
    "source is generated": ("in generated scenes|scenarios|data", "in synthetic scenes|scenarios|data"),
    "source is log": (
        "in recorded|real|logged scenes|scenarios|data|logs", "in the real world",
    ),
    "traffic_density": ("in dense|heavy traffic", "in a busy traffic| scene", "~the traffic is dense|heavy"),
    "vru_density": (
        "among many vulnerable road users", "among many pedestrians|vrus", "in a crowd", "in a crowded scene",
    ),
    "weather": ("~the weather is known|recorded", "in known weather"),
    "illumination": ("~the light is known|recorded", "in known light"),
}  # fmt: skip
"""What is so of a whole scene, said anywhere in a sentence; after ``~`` what is a sentence alone."""

NAMED: Mapping[str, tuple[str, ...]] = {
    "dataset": ("in|from the| dataset",),
    "location": ("in|at|from location", "recorded|filmed in"),
    "split": ("in|from the split",),
}
"""Facts that are followed by a name; *in the val split* is read too."""

AMOUNTS: Mapping[str, tuple[str, ...]] = {
    "agents": ("agents", "agent", "road users", "actors", "traffic participants"),
    "vrus": ("vulnerable road users", "vrus", "vulnerable road user"),
    "signals": ("signals", "traffic lights", "traffic signals", "traffic light"),
}
"""Facts that are counted: *in scenes with at least 20 agents*."""
VALUES: Mapping[str, tuple[str, ...]] = {
    "ego_speed": ("mean|average ego speed", "mean|average speed of the ego", "mean|average speed"),
    "ego_distance": ("ego distance", "driven distance", "distance driven"),
    "duration": ("duration", "length"),
    "rarity": ("rarity",),
}
"""Facts that are measured: *in scenes with a duration above 10 s*."""

RARE = 0.95
"""From which rarity on a scene counts as rare."""

IRREGULAR: Mapping[str, tuple[str, ...]] = {
    "be": ("is", "being", "was", "been"), "have": ("has", "having", "had", "had"),
    "do": ("does", "doing", "did", "done"), "go": ("goes", "going", "went", "gone"),
    "cut": ("cuts", "cutting", "cut", "cut"), "set": ("sets", "setting", "set", "set"),
    "let": ("lets", "letting", "let", "let"), "hit": ("hits", "hitting", "hit", "hit"),
    "run": ("runs", "running", "ran", "run"), "come": ("comes", "coming", "came", "come"),
    "get": ("gets", "getting", "got", "got"), "begin": ("begins", "beginning", "began", "begun"),
    "drive": ("drives", "driving", "drove", "driven"), "ride": ("rides", "riding", "rode", "ridden"),
    "overtake": ("overtakes", "overtaking", "overtook", "overtaken"),
    "take": ("takes", "taking", "took", "taken"), "make": ("makes", "making", "made", "made"),
    "give": ("gives", "giving", "gave", "given"), "break": ("breaks", "breaking", "broke", "broken"),
    "stand": ("stands", "standing", "stood", "stood"), "hold": ("holds", "holding", "held", "held"),
    "leave": ("leaves", "leaving", "left", "left"), "lead": ("leads", "leading", "led", "led"),
    "strike": ("strikes", "striking", "struck", "struck"), "spin": ("spins", "spinning", "spun", "spun"),
    "creep": ("creeps", "creeping", "crept", "crept"), "swing": ("swings", "swinging", "swung", "swung"),
    "speed": ("speeds", "speeding", "sped", "sped"), "stop": ("stops", "stopping", "stopped", "stopped"),
    "step": ("steps", "stepping", "stepped", "stepped"), "ram": ("rams", "ramming", "rammed", "rammed"),
    "queue": ("queues", "queueing|queuing", "queued", "queued"),
    "travel": ("travels", "travelling|traveling", "travelled|traveled", "travelled|traveled"),
    "slam": ("slams", "slamming", "slammed", "slammed"), "jerk": ("jerks", "jerking", "jerked", "jerked"),
}  # fmt: skip
"""Third person, -ing, past, participle."""


_NOUNS = frozenset({"is_ego", "category", "vru"})
"""Said by the noun: the ego, a pedestrian."""


def phrases_of(rules: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """What is said by its name alone, because nobody has told how else: later predicates, and rules.

    Args:
        rules: How many actors each saved rule takes, by name.

    Returns:
        Phrases as in `DOES`; of what has no actors as in `FACTS`.
    """
    said = {
        name
        for table in (DOES, PLACES, COMPARED, MEASURES, FACTS)
        for what, phrases in table.items()
        if phrases
        for name in what.split(" is ")[0].replace("|", " ").replace("&", " ").split()
    }
    names = {
        name: len(p.roles) for name, p in PREDICATES.items() if name not in said | _NOUNS
    } | dict(rules)
    ends = {0: ("~{}",), 1: ("be {}", "*{}")}
    return {
        name: tuple(
            form.format(name.replace("_", " "))
            for form in ends.get(roles, ("be {}", "be {} {{other}}", "*{}", "*{} {{other}}"))
        )
        for name, roles in names.items()
    }
