"""Words of nuScenes and its kin: categories of objects, conditions in descriptions, splits."""

from __future__ import annotations

from schemas.labels import AgentClass, Daylight, Weather

CLASSES = {
    "pedestrian": AgentClass.PEDESTRIAN, "human": AgentClass.PEDESTRIAN,
    "person": AgentClass.PEDESTRIAN, "animal": AgentClass.ANIMAL,
    "movable_object": AgentClass.OBSTACLE, "static_object": AgentClass.OBSTACLE,
    "traffic_cone": AgentClass.OBSTACLE, "barrier": AgentClass.OBSTACLE,
    "bicycle_rack": AgentClass.OBSTACLE, "debris": AgentClass.OBSTACLE,
    "pushable_pullable": AgentClass.OBSTACLE, "bicycle": AgentClass.CYCLIST,
    "cyclist": AgentClass.CYCLIST, "motorcycle": AgentClass.MOTORCYCLE,
    "motorbike": AgentClass.MOTORCYCLE, "motorcyclist": AgentClass.MOTORCYCLE,
    "bus": AgentClass.BUS, "truck": AgentClass.TRUCK, "trailer": AgentClass.TRUCK,
    "tractor_unit": AgentClass.TRUCK, "semi_trailer": AgentClass.TRUCK,
    "construction": AgentClass.TRUCK, "fire_truck": AgentClass.TRUCK,
    "construction_vehicle": AgentClass.TRUCK, "car": AgentClass.VEHICLE,
    "emergency": AgentClass.VEHICLE, "emergency_vehicle": AgentClass.VEHICLE,
    "other_vehicle": AgentClass.VEHICLE, "vehicle": AgentClass.VEHICLE,
    "ambulance": AgentClass.VEHICLE, "police_car": AgentClass.VEHICLE,
    "unknown": AgentClass.UNKNOWN,
}  # fmt: skip
"""Words of the categories; of ``vehicle.bus.bendy`` the last word that is here counts."""

SWEEP_COLUMNS = ("x", "y", "z", "intensity", "ring")
"""Of a lidar sweep, each a float32."""

VALIDATION = (
    3, *range(12, 19), 35, 36, 38, 39, *range(92, 111), 221, *range(268, 279), *range(329, 333),
    *range(344, 347), *range(519, 525), *range(552, 566), 625, 626, 627, 629, 630,
    *range(632, 639), 770, 771, 775, 777, 778, *range(780, 785), *range(794, 801), 802,
    *range(904, 918), *range(919, 932), 962, 963, *range(966, 970), 971, 972, *range(1059, 1074),
)  # fmt: skip
"""Numbers of the scenes that are for validation; the test scenes have a folder of their own."""
MINI = {
    **dict.fromkeys((61, 553, 655, 757, 796, 1077, 1094, 1100), "mini_train"),
    **dict.fromkeys((103, 916), "mini_val"),
}


def class_of(category: str) -> AgentClass | None:
    """The class of a category by its last word that is known; None if none is."""
    for word in reversed(category.lower().replace("trafficcone", "traffic_cone").split(".")):
        if word in CLASSES:
            return CLASSES[word]
    return None


def conditions(description: str) -> tuple[Weather | None, Daylight | None]:
    """What a scene's description says of weather and light; None where it says nothing."""
    words = description.lower().replace(",", " ").replace(".", " ").split()
    weather = None
    if any(word.startswith("rain") for word in words) and "after rain" not in " ".join(words):
        weather = Weather.RAIN
    elif any(word.startswith("snow") for word in words):
        weather = Weather.SNOW
    elif any(word.startswith("fog") for word in words):
        weather = Weather.FOG
    light = None
    if any(word.startswith("night") for word in words):
        light = Daylight.NIGHT
    elif {"dusk", "dawn", "sunset", "sunrise"} & set(words):
        light = Daylight.DUSK
    return weather, light
