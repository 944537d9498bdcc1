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
    "special_vehicle": (
        "be an emergency|priority|special vehicle", "be a vehicle of the police|fire brigade|rescue service",
        "be emergency|priority|special",
    ),
    "parked": ("be parked", "be parked up", "*stand parked"),
    "poorly_observed": ("be poorly observed|seen|tracked", "be badly observed|seen|tracked"),
    "moving": (
        "*move", "*move|drive|ride|walk about|around|along", "*drive", "*ride", "*walk", "be in motion",
        "be on the move",
    ),
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
    "jerk_magnitude_high": (
        "*have a high total|overall|combined jerk", "*drive|ride|move uncomfortably jerkily",
        "*jerk in any direction",
    ),
    "trajectory_stationary": (
        "*stay|remain in place|put", "*stay|remain in|at one place|spot", "*stay|remain where it is",
        "*have a stationary trajectory|path|track", "*go|get nowhere",
    ),
    "trajectory_straight": (
        "*go|drive|move|travel|ride|walk straight on|ahead|", "*keep straight on|ahead|",
        "*have|take|follow a straight trajectory|path|track", "be on a straight trajectory|path|track",
    ),
    "trajectory_straight_left": (
        "*drift|bear|shift left|leftward|leftwards", "*drift|bear|shift to the left",
        "*go|drive|move straight while|and|but drifting left", "*have a trajectory|path|track shifted to the left",
    ),
    "trajectory_straight_right": (
        "*drift|bear|shift right|rightward|rightwards", "*drift|bear|shift to the right",
        "*go|drive|move straight while|and|but drifting right", "*have a trajectory|path|track shifted to the right",
    ),
    "trajectory_left": (
        "*have a left|left+turn|left+turning trajectory|path|track", "*turn left overall",
        "*have a trajectory|path|track that turns left|to+the+left", "*end up on the left",
    ),
    "trajectory_right": (
        "*have a right|right+turn|right+turning trajectory|path|track", "*turn right overall",
        "*have a trajectory|path|track that turns right|to+the+right", "*end up on the right",
    ),
    "trajectory_left_u_turn": (
        "*make|do|perform|take a left|left-hand u-turn", "*make|do|perform|take a u-turn to the left",
        "*turn round|around|back to the left", "*have a left u-turn trajectory|path|track",
    ),
    "trajectory_right_u_turn": (
        "*make|do|perform|take a right|right-hand u-turn", "*make|do|perform|take a u-turn to the right",
        "*turn round|around|back to the right", "*have a right u-turn trajectory|path|track",
    ),
    "three_point_turn": (
        "*make|do|perform|take a three-point|3-point turn", "*turn round|around|back in three moves|points|goes",
    ),
    "high_speed_turn": (
        "*turn at a| high speed", "*make|take|do a high-speed|fast|quick turn", "*take a turn fast|quickly",
    ),
    "low_speed_turn": (
        "*turn slowly", "*turn at a| low|walking speed", "*make|take|do a low-speed|slow turn",
        "*take a turn slowly",
    ),
    "turning_left": ("*turn left", "*turn to the left", "*make|take a left turn"),
    "turning_right": ("*turn right", "*turn to the right", "*make|take a right turn"),
    "turning_left | turning_right": ("*turn", "*make|take a turn"),
    "u_turn": ("*make|do|perform|take a u-turn", "*turn round|around", "*turn back"),
    "lat_accel_high": ("*corner|turn hard", "*corner fast|quickly", "*have a high lateral acceleration"),
    "lat_accel_uncomfortable": (
        "*corner|turn uncomfortably", "*corner|turn uncomfortably hard|fast",
        "*have an uncomfortable lateral acceleration",
    ),
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
    "lane_keeping": (
        "*keep|hold its|the|their lane", "*keep to its|the|their lane", "*stay|remain in its|the|their lane",
        "*keep to the middle|centre|center of its|the|their lane",
    ),
    "merge": (
        "*merge", "*merge into|onto|with the| traffic|lane|highway|motorway|freeway|road",
        "*merge into|onto the|a main|next|neighbouring|another road|lane", "*join the highway|motorway|freeway|traffic",
        "*make|do|perform a merge",
    ),
    "pull_over": (
        "*pull over", "*pull over to|at the side|edge of the road|street", "*pull over to|at the kerb|curb|roadside",
        "*pull in to|at the kerb|curb|roadside", "*stop at|on|by the side|edge of the road|street",
        "*stop at|by the kerb|curb|roadside",
    ),
    "pull_out": (
        "*pull out", "*pull out into|onto the| traffic|lane|road", "*pull|move|set|drive off|out from the side of the road|street",
        "*pull|move|set|drive off|out from the kerb|curb|roadside", "*leave the kerb|curb|roadside",
        "*pull out of a|the parking space|spot|bay",
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
        "*drive|ride|go|travel|be on the wrong side of the road|street", "be on the wrong side",
    ),
    "off_drivable": ("*leave the drivable area|surface", "*drive|go off the drivable area|surface"),
    "on_road": (),
    "not on_road": ("*leave the road|street|roadway",),
    "roundabout": (
        "*enter|negotiate a|the roundabout", "*drive|go|ride|travel round|around a|the roundabout",
    ),
    "lane_straddling": (
        "*straddle the| lane|lanes", "*straddle the|a lane line|marking|boundary|edge",
        "*straddle two lanes", "*drive|be between two lanes", "*drive|be on the|a lane line|marking",
        "*drive|reach over the|its lane's| edge of its lane",
    ),
    "obstacle_on_road": (
        "*lie on|in the| road|street|lane|way", "be on|in the| road|street|lane",
    ),
    "stalled_vehicle": (
        "be stalled", "be stranded", "be broken down", "*stall", "*break down", "*have broken down",
        "*stall|break down in|on the|a|its| lane|road|street", "be stalled|stranded|broken down in|on the|a|its| lane|road|street",
    ),
    "traversing_crosswalk": (
        "*cross|traverse|use a|the crosswalk", "*cross at|on a|the crosswalk", "*cross at|on a|the zebra|pedestrian crossing",
        "*cross|traverse|use a|the zebra|pedestrian crossing",
        "*go|walk|drive|ride|move over|across|along a|the crosswalk",
        "*go|walk|drive|ride|move over|across|along a|the zebra|pedestrian crossing",
        "*cross the road|street at|on a|the crosswalk", "*cross the road|street at|on a|the zebra|pedestrian crossing",
    ),
    "on_stop_line": ("*cross|overrun|overlap a|the stop line",),
    "lane_splitting": (
        "*split lanes", "*split the lanes", "*filter through|between the| traffic|lanes|vehicles|cars",
        "*filter", "*ride between two vehicles|cars", "*ride between lanes",
    ),
    "platoon": (
        "*lead|head a|the platoon|convoy|column", "be the first|head|leader of a platoon|convoy|column",
        "be at the head|front of a platoon|convoy|column",
    ),
    "view_blocking": (
        "*block|obstruct|limit|restrict the+ego's|our view", "*block|obstruct|limit|restrict the view of the| ego",
        "*block|obstruct|limit|restrict the view ahead", "be view blocking",
    ),
    "kalman_difficulty": (
        "be hard|difficult to predict|forecast", "*move|behave|drive unpredictably", "be unpredictable",
        "*have a high|large forecast|prediction error",
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
    "relevant_green": (
        "*have|face a green traffic| light|signal", "*have a green traffic| light|signal ahead",
    ),
    "relevant_green & moving": (
        "*approach a|the green traffic| light|signal",
        "*drive|move|head|go to|toward|towards the|a green traffic| light|signal",
    ),
    "relevant_yellow": (
        "*have a yellow|amber traffic| light|signal", "*have a yellow|amber traffic| light|signal ahead",
    ),
    "relevant_yellow & moving": (
        "*drive|move|head|go to|toward|towards the|a yellow|amber traffic| light|signal",
    ),
    "relevant_red": ("*have|face a red traffic| light|signal", "*have a red traffic| light|signal ahead"),
    "relevant_off": (
        "*have|face a dark|unlit|dead traffic| light|signal", "*have a dark|unlit|dead traffic| light|signal ahead",
    ),
    "relevant_off & moving": ("*approach a|the dark|unlit|dead traffic| light|signal",),
    "dilemma_yellow": (
        "*face a yellow|amber traffic| light|signal", "*face a yellow light dilemma", "be in the|a dilemma|yellow zone",
        "*approach a yellow|amber traffic| light|signal",
    ),
    "protected_turn": ("*make|take a protected turn", "*turn on a protected green"),
    "unprotected_turn": ("*make|take an unprotected turn", "*turn unprotected|unprotectedly"),
    "protected_turn & turning_left": ("*make|take a protected left turn",),
    "protected_turn & turning_right": ("*make|take a protected right turn",),
    "unprotected_turn & turning_left": ("*make|take an unprotected left turn",),
    "unprotected_turn & turning_right": ("*make|take an unprotected right turn",),
    "near": ("*come|get near|close {other}", "*come|get close to {other}"),
    "very_near": (
        "*come|get very near|close {other}", "*come|get very close to {other}",
        "*come|get dangerously|extremely close to {other}",
    ),
    "nearest": (
        "be nearest|closest to {other}", "be the nearest|closest one|agent|actor|road+user to {other}",
        "be the nearest|closest road user",
    ),
    "in_front_of": (
        "be somewhere|anywhere ahead|in+front of {other}", "*stay|remain ahead|in+front of {other}",
    ),
    "facing": ("*face {other}", "*point at|toward|towards {other}", "be turned toward|towards {other}"),
    "same_heading": (
        "*head|face|point the same way|direction as {other}", "*share the heading of {other}",
        "*have the same heading|direction|orientation as {other}",
    ),
    "opposite_heading": (
        "*head|face|point the opposite|other way to|from|as {other}",
        "*have the opposite heading|direction|orientation to|of|as {other}",
    ),
    "perpendicular_heading": (
        "*have a perpendicular heading to {other}", "be perpendicular|crosswise to {other}",
        "be at right angles to {other}", "be at a right angle to {other}",
    ),
    "occluded_by": (
        "be occluded|hidden|covered|concealed|masked by {other}", "*occlude|hide|cover|conceal|mask {actor}",
        "be occluded|hidden|concealed", "be hidden|concealed from the| ego|view by {other}",
        "*block|obstruct the+ego's|our view of {actor}",
    ),
    "between": (
        "*come|get between the| ego|us and {other}",
        "*come|get between {other} and the| ego|us",
    ),
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
        "be held|slowed up|down by {other}", "*hold|slow up|down {actor}",
        "*hold|slow {actor} up|down", "*have a slow leader", "*follow a slow leader",
        "*follow a slower vehicle|car|leader",
    ),
    "queuing": (
        "*queue", "*queue|wait behind {other}", "be stuck|held+up behind {other}", "*wait|stand|be in a queue", "be in a traffic jam", "*queue up",
        "be stuck in traffic", "be stuck in a traffic jam",
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
    "btn": (
        "*have to brake to|at the limit for {other}", "*need all its|the brakes for {other}",
        "be barely able to brake for {other}",
    ),
    "stn": (
        "*have to swerve to|at the limit for {other}", "be barely able to swerve|steer round|around {other}",
        "*have to swerve very hard round|around {other}",
    ),
    "mttcp": (
        "*reach the conflict point at about the same time as {other}", "be on a conflicting course|path with {other}",
        "*have a conflicting course|path with {other}",
    ),
    "et": (
        "*encroach on the path|way|course of {other}", "*linger in the path|way|course of {other}",
    ),
    "dce": (
        "be about to touch|hit {other}", "be on a collision course with {other}",
        "*head for a collision|crash with {other}",
    ),
    "delta_v": (
        "*face|risk a severe|violent collision|crash with {other}", "be about to crash severely|violently into {other}",
    ),
    "tet": (
        "be exposed to a short|low|critical time to collision with {other}",
        "*have a short|low|critical time to collision with {other} for long", "be exposed to a low|short|critical ttc",
    ),
    "tit": ("*have a low|short|critical time to collision with {other} by a wide margin",),
    "cpi": ("*have a high|critical crash potential with {other}", "*risk a crash with {other}"),
    "rss_lateral": (
        "*violate the lateral rss distance to|of {other}", "*violate lateral rss", "*violate rss laterally|sideways",
        "*violate the lateral safe|safety distance to|of {other}", "be too close sideways|laterally to {other}",
        "*come too close from the side to {other}",
    ),
    "rss_oncoming": (
        "*violate the rss distance to|of oncoming {other}", "*violate the safe|safety distance to|of oncoming {other}",
        "be too close to oncoming {other}",
    ),
    "rss_danger": (
        "be in an| rss danger", "be in an| rss danger from|with {other}", "be in a dangerous rss situation",
        "be in a dangerous rss situation with {other}", "*respond improperly to {other}",
        "*violate the rss response to {other}",
    ),
    "counterfactual_delta": (
        "be saved|spared by the reaction of {other}", "be saved by {other}", "*save {actor} by reacting",
        "*depend on the reaction of {other}",
    ),
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
    "ttc": (), "ttc_2d": (), "wttc": (), "thw": (), "pet": (),
}  # fmt: skip
"""What somebody does or is. Those that are empty are said as places, or as measures."""

PLACES: Mapping[str, tuple[str, ...]] = {
    "on_road": ("on the road|street|roadway|carriageway", "in the roadway", "in a lane", "in its lane"),
    "not on_road": ("off|beside the road|street|roadway|carriageway",),
    "in_drivable": (
        "on|in|within|inside the drivable area|surface", "on drivable ground|surface",
    ),
    "on_vehicle_lane": (
        "on|in a|the vehicle|motor+vehicle|car lane", "on|in a|the lane for motor+vehicles|vehicles|cars",
    ),
    "on_bike_lane": (
        "on|in a|the bike|bicycle|cycle|cycling lane|path|track", "on|in a|the lane for cyclists|bicycles|bikes",
    ),
    "on_bus_lane": ("on|in a|the bus lane", "on|in a|the lane for buses"),
    "narrow_lane": ("on|in a|the narrow lane", "in a tight lane"),
    "in_carpark": (
        "in|on|inside a|the car+park|carpark|parking+lot|parking+area|parking+garage", "in a parking structure",
    ),
    "in_pickup_dropoff": (
        "in|at a|the pickup|pick-up|drop-off|dropoff zone|area|point",
        "in|at a|the pickup|pick-up and|or drop-off|dropoff zone|area|point", "where passengers get in and|or out",
    ),
    "on_stop_line": ("on|over|across a|the stop line", "with a wheel over the stop line"),
    "all_way_stop": (
        "at|in|near a|an|the all-way|four-way|4-way stop", "at|in|near a|an|the all-way|four-way|4-way stop intersection|junction",
    ),
    "off_drivable": ("off|outside the drivable area|surface", "over the kerb|curb"),
    "in_intersection": ("in|inside|within|through an|the intersection|junction|crossing|crossroads",),
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
    "roundabout": ("in|on|inside|at|through a|the roundabout",),
    "not roundabout": ("outside a|the roundabout",),
    "merge_zone": ("in|at a|the merge|merging zone|area", "in|at a|the merge", "on a merging lane"),
    "lane_straddling": ("between two lanes", "across the|a lane line|marking"),
    "very_near": (
        "very near {other}", "very close to {other}", "right|directly next to {other}",
        "right|directly beside {other}",
    ),
    "near": ("near|beside {other}", "close|next to {other}", "in the vicinity of {other}"),
    "not near": ("far|away from {other}", "far away from {other}", "nowhere near {other}"),
    "same_lane": ("in the same lane as {other}", "in the lane of {other}"),
    "following": ("behind {other}", "ahead|in+front of {actor}"),
    "in_front_of": (
        "somewhere|anywhere|farther|further|well ahead|in+front of {other}", "to the front of {other}",
    ),
    "behind": (
        "somewhere|anywhere|farther|further|well behind {other}", "to the rear of {other}",
    ),
    "left_of": (
        "left of {other}", "to|on the left of {other}", "to|on|at the left side|hand of {other}", "to the left beside {other}",
    ),
    "right_of": (
        "right of {other}", "to|on the right of {other}", "to|on|at the right side|hand of {other}", "to the right beside {other}",
    ),
    "same_heading": (
        "in the same direction as {other}", "the same way as {other}", "with the same heading as {other}"),
    "opposite_heading": (
        "in the opposite direction to|of|from|as {other}", "with the opposite heading to|of|as {other}",
    ),
    "perpendicular_heading": (
        "perpendicular|crosswise to {other}", "at right angles to {other}", "at a right angle to {other}",
    ),
    "same_side_of_road": (
        "on the same side of the road|street as {other}", "on the same side as {other}", "on the same carriageway as {other}",
    ),
    "opposite_side_of_road": (
        "on the opposite|other side of the road|street to|from|as|than {other}",
        "on the opposite|other side from|to {other}", "on the opposite carriageway to|from {other}",
    ),
    "between": ("between the| ego|us and {other}", "between {other} and the| ego|us"),
    "relevant_green": ("at|before a|the green traffic| light|signal", "in front of a green traffic| light|signal"),
    "relevant_yellow": (
        "at|before a|the yellow|amber traffic| light|signal", "in front of a yellow|amber traffic| light|signal",
    ),
    "relevant_red": ("at|before a|the red traffic| light|signal", "ahead of a red traffic| light|signal"),
    "relevant_off": (
        "at|before a|the dark|unlit|dead traffic| light|signal", "at|before a traffic| light|signal that is off",
    ),
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
        "*exceed {>}", "*drive|move|go|travel|ride over|above {>}",
        "*drive|move|go|travel|ride under|below {<}", "*have a speed {?}", "*have a speed of {?}", "*drive|move|go|travel|ride|be slower than {<}",
    ),
    "over_limit": (
        "*speed by {?}", "*exceed|break the speed limit by {?}", "*drive|be over|above the speed limit by {?}",
    ),
    "near": (
        "*come|get within {<=} of {other}", "*come|get|be closer than {<} to {other}",
        "*come|get|be closer to {other} than {<}", "be {?} from|to {other}", "be {?} away from {other}",
    ),
    "rss_violation": ("*violate rss by {?}", "*violate the rss distance to {other} by {?}"),
    "jerk_high": ("*jerk harder than {>}", "*have a jerk {?}"),
    "jerk_magnitude_high": (
        "*have a|an total|overall|combined jerk {?}", "*have a|an total|overall|combined jerk of {?}",
    ),
    "high_speed_turn": ("*turn at|with {?}", "*turn at|with a speed {?}", "*turn at|with a speed of {?}"),
    "low_speed_turn": ("*turn slower|more+slowly than {<}", "*make a turn slower than {<}"),
    "lane_keeping": ("*keep|hold its|the lane to|within {<=}", "*stay|remain within {<=} of the middle|centre|center of its lane"),
    "narrow_lane": (
        "*go|drive|ride|move on|in|along a lane narrower than {<}", "*use|take a lane narrower than {<}",
    ),
    "platoon": (
        "*lead|head a|the platoon|convoy|column of {?} vehicles|cars", "*lead|head a|the platoon|convoy|column of {?}",
    ),
    "view_blocking": (
        "*block|obstruct|limit the+ego's|our view by {?}", "*block|obstruct|limit {?} of the+ego's|our view",
    ),
    "kalman_difficulty": (
        "*have a forecast|prediction error {?}", "*have a forecast|prediction error of {?}",
    ),
    "occluded_by": (
        "be {?} occluded|hidden|covered by {other}", "be occluded|hidden|covered by {other} by {?}",
        "be occluded|hidden|covered {?} by {other}",
    ),
    "lat_accel_uncomfortable": ("*corner uncomfortably at|with {?}",),
    "rss_lateral": ("*violate the lateral rss distance to {other} by {?}", "*violate lateral rss by {?}"),
    "traversing_crosswalk": (
        "*cross a|the crosswalk at|with {?}", "*cross a|the zebra|pedestrian crossing at|with {?}",
        "*cross a|the crosswalk faster than {>}",
    ),
    "lat_accel_high": ("*corner harder|faster than {>}", "*have a lateral acceleration {?}"),
    "yaw_rate_high": ("*turn faster than {>}", "*have a yaw rate {?}", "*have a yaw rate of {?}"),
}  # fmt: skip
COMPARED_PLACES: Mapping[str, tuple[str, ...]] = {
    "following": ("{?} behind {other}", "within {<=} behind {other}", "{?} ahead|in+front of {actor}"),
    "near": ("within {<=} of {other}", "closer than {<} to {other}", "{?} from {other}", "{?} away from {other}"),
    "narrow_lane": ("on|in a lane narrower than {<}",),
    "relevant_red": ("within {<=} of a|the red traffic| light|signal", "{?} before a|the red traffic| light|signal"),
    "relevant_green": ("within {<=} of a|the green traffic| light|signal", "{?} before a|the green traffic| light|signal"),
    "relevant_yellow": (
        "within {<=} of a|the yellow|amber traffic| light|signal", "{?} before a|the yellow|amber traffic| light|signal",
    ),
    "relevant_off": ("within {<=} of a|the dark|unlit|dead traffic| light|signal",),
    AT_SPEED: ("at|with {?}", "at|with a speed {?}", "at|with a speed of {?}"),
}  # fmt: skip

MEASURES: Mapping[str, tuple[str, ...]] = {
    "ttc": ("time to collision", "ttc"),
    "ttc_2d": ("two dimensional time to collision", "2d ttc", "2d time to collision", "ttc_2d"),
    "wttc": ("worst case time to collision", "worst-case time to collision", "wttc"),
    "thw": ("time headway", "headway", "time gap", "thw"),
    "pet": ("post encroachment time", "pet"),
    "drac": ("deceleration rate to avoid a crash|collision", "drac"),
    "a_req": ("required deceleration", "a_req"),
    "btn": ("brake threat number", "braking threat number", "btn"),
    "stn": ("steer threat number", "steering threat number", "stn"),
    "mttcp": (
        "minimum time to conflict point",
        "time difference at the conflict point",
        "mttcp",
    ),
    "et": ("encroachment time",),
    "dce": ("distance of|at closest encounter|approach", "closest predicted distance", "dce"),
    "delta_v": ("delta v", "delta_v", "expected change of velocity", "expected crash severity"),
    "tet": ("time exposed time to collision", "tet"),
    "tit": ("time integrated time to collision", "tit"),
    "cpi": ("crash potential index", "cpi"),
    "rss_danger": ("time since the rss danger threshold",),
    "counterfactual_delta": ("counterfactual delta", "averted criticality"),
    "near": ("distance",),
}
"""What one has towards another and compares: *a time to collision below 1.5 s*."""
LOW = "low|short|small|critical"
HIGH = "high|large|critical"
HIGH_MEASURES = {
    "drac", "a_req", "btn", "stn", "et", "delta_v", "tet", "tit", "cpi", "rss_danger",
    "counterfactual_delta",
}  # fmt: skip

EVENTS: Mapping[str, tuple[str, ...]] = {
    "cut_in": ("cut in",),
    "cut_out": ("cut out",),
    "near_miss": ("near miss", "near collision"),
    "collision": ("collision", "crash", "accident"),
    "hard_brake": ("hard brake", "hard braking", "emergency stop"),
    "swerve": ("swerve",),
    "u_turn": ("u-turn",),
    "three_point_turn": ("three-point turn", "3-point turn"),
    "pull_over": ("pull over",),
    "merge": ("merge", "merging manoeuvre|maneuver"),
    "lane_splitting": ("lane splitting",),
    "rss_lateral": ("lateral rss violation",),
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
    "not weather is rain": ("without rain", "without any rain"),
    "not weather is snow": ("without snow", "without any snow"),
    "not weather is fog": ("without fog", "without any fog"),
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
    "surface": (
        "on a wet road|street|surface|roadway", "on wet roads|streets|asphalt", "~the road|street|surface|roadway is wet",
    ),
    "work_zone": (
        "in|at|near|through a|the work|construction|roadwork|roadworks zone|site|area", "in|at|near|through road works|roadworks",
        "~there is a work|construction zone|site", "~there are road works|roadworks",
    ),
    "zone": (
        "in|at|near a|the special|regulated zone", "in a|the zone with special|its+own rules",
        "in a zone with rules of its own", "~there is a special zone",
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
    "keep": ("keeps", "keeping", "kept", "kept"), "split": ("splits", "splitting", "split", "split"),
    "hide": ("hides", "hiding", "hid", "hidden"), "overrun": ("overruns", "overrunning", "overran", "overrun"),
    "overlap": ("overlaps", "overlapping", "overlapped", "overlapped"), "lie": ("lies", "lying", "lay", "lain"),
    "drift": ("drifts", "drifting", "drifted", "drifted"), "bear": ("bears", "bearing", "bore", "borne"),
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
