"""Frames, angles, boxes, polylines, lanes and kinematics: arrays in, arrays out.

Conventions of the whole project: ISO 8855 (x forward, y left, z up), metres, seconds, radians in
(−π, π]. Nothing here knows a record type.
"""
