"""One peer, so many reactive vehicles, so many seconds at 10 Hz: how many agent-steps a second.

    .peers/bin/python benchmarks/closed_loop_peers.py libsumo|highway-env|metadrive AGENTS SECONDS

Run by ``closed_loop.py --peers`` in an environment of its own; prints one row of its table.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def libsumo(agents: int, seconds: float) -> tuple[str, int, float]:
    """IDM vehicles on a ring of two lanes; every pose is read at every step, collisions are looked for."""
    import libsumo as sumo
    import sumo as home

    binaries = Path(home.__file__).parent / "bin"
    with tempfile.TemporaryDirectory() as folder:
        net, routes = Path(folder, "ring.net.xml"), Path(folder, "ring.rou.xml")
        side = 40 + 4 * agents
        corners = [(0, 0), (side, 0), (side, side), (0, side)]
        nodes = "".join(f'<node id="{i}" x="{x}" y="{y}"/>' for i, (x, y) in enumerate(corners))
        edges = "".join(
            f'<edge id="e{i}" from="{i}" to="{(i + 1) % 4}" numLanes="2" speed="14"/>'
            for i in range(4)
        )
        Path(folder, "n.xml").write_text(f"<nodes>{nodes}</nodes>")
        Path(folder, "e.xml").write_text(f"<edges>{edges}</edges>")
        subprocess.run(
            [binaries / "netconvert", "-n", f"{folder}/n.xml", "-e", f"{folder}/e.xml", "-o", net],
            check=True, capture_output=True,
        )  # fmt: skip
        vehicles = "".join(
            f'<vehicle id="v{i}" type="car" depart="0" departLane="{i % 2}" departPos="{5 + 8 * (i // 8)}"'
            f' departSpeed="5"><route edges="{" ".join(f"e{(k + i // 2) % 4}" for k in range(40))}"/></vehicle>'
            for i in range(agents)
        )
        routes.write_text(f'<routes><vType id="car" carFollowModel="IDM"/>{vehicles}</routes>')
        sumo.start([
            "sumo", "-n", str(net), "-r", str(routes), "--step-length", "0.1", "--no-step-log",
            "--no-warnings", "--collision.action", "warn", "--max-depart-delay", "-1",
        ])  # fmt: skip
        for _ in range(50):
            sumo.simulationStep()
        total, began = 0, time.perf_counter()
        for _ in range(round(seconds * 10) * 20):
            sumo.simulationStep()
            there = sumo.vehicle.getIDList()
            for vehicle in there:
                sumo.vehicle.getPosition(vehicle)
                sumo.vehicle.getAngle(vehicle)
            total += len(there)
        took = time.perf_counter() - began
        sumo.close()
    return "IDM on a ring, poses read", total, took


def highway_env(agents: int, seconds: float) -> tuple[str, int, float]:
    """IDM and MOBIL on a highway of two lanes, 10 Hz, with its collision checks."""
    import gymnasium
    import highway_env

    gymnasium.register_envs(highway_env)
    env = gymnasium.make(
        "highway-v0",
        config={
            "lanes_count": 2, "vehicles_count": agents - 1, "simulation_frequency": 10,
            "policy_frequency": 10, "duration": 10_000, "vehicles_density": 2,
        },
    ).unwrapped  # fmt: skip
    env.reset(seed=0)
    road, total, began = env.road, 0, time.perf_counter()
    for _ in range(round(seconds * 10)):
        road.act()
        road.step(0.1)
        total += len(road.vehicles)
    return "IDM and MOBIL, collisions", total, time.perf_counter() - began


def metadrive(agents: int, seconds: float) -> tuple[str, int, float]:
    """Its procedural traffic, an IDM ego, physics by Bullet; no rendering."""
    import metadrive as package

    home = Path(package.__file__).parent / "assets"
    # The wheel comes without assets, and would fetch them; nothing is rendered here.
    picture = home / "textures" / "grass1" / "GroundGrassGreen002_COL_1K.jpg"
    picture.parent.mkdir(parents=True, exist_ok=True)
    (home / "version.txt").write_text("0.4.3")
    picture.touch()
    from metadrive.envs import MetaDriveEnv
    from metadrive.policy.idm_policy import IDMPolicy

    env = MetaDriveEnv({
        "map": "SSSS", "traffic_density": min(0.9, agents / 60), "agent_policy": IDMPolicy,
        "use_render": False, "image_observation": False, "log_level": 50, "horizon": 100_000,
        "traffic_mode": "respawn",
    })  # fmt: skip
    env.reset(seed=0)
    total, began = 0, time.perf_counter()
    for _ in range(round(seconds * 10)):
        _, _, done, cut, _ = env.step([0.0, 0.0])
        total += 1 + len(env.engine.traffic_manager.traffic_vehicles)
        if done or cut:
            env.reset(seed=0)
    took = time.perf_counter() - began
    env.close()
    return f"reactive IDM, Bullet, {total / round(seconds * 10):.0f} vehicles", total, took


PEERS = {"libsumo": libsumo, "highway-env": highway_env, "metadrive": metadrive}


def main() -> None:
    """Drive one peer, print its row."""
    name, agents, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    with contextlib.redirect_stdout(io.StringIO()):
        what, steps, took = PEERS[name](agents, seconds)
    print(f"| {name} | {agents} | {what} | {steps / took:,.0f} |")


if __name__ == "__main__":
    main()
