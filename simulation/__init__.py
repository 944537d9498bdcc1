"""The procedural world, the closed-loop engine, planners, scores and suites."""
