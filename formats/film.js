// Plays the films that formats/film.py drew: it moves what stands in the page, and draws nothing itself.
// No library, no network. A film is decoded when it is first touched, so that many cost nothing.
"use strict";
(() => {
  const GONE = -32768; // in place of x: the agent is not there at that step
  const TURN = 180 / Math.PI / 1e4; // tenths of a milliradian to degrees
  const wrapped = (turn) => turn - 2 * Math.PI * 1e4 * Math.round(turn / (2 * Math.PI * 1e4));

  const decode = (text) => {
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return Int16Array.from({ length: bytes.length / 2 }, (_, i) => view.getInt16(2 * i, true));
  };

  // Where an agent is at a time between steps: [x, y] in decimetres and a turn in degrees, or null.
  const pose = (track, steps, time) => {
    const step = Math.min(Math.floor(time), steps - 1);
    const share = time - step;
    const here = 3 * step;
    if (track[here] === GONE) return null;
    const there = step + 1 < steps && track[here + 3] !== GONE ? here + 3 : here;
    const between = (k) => track[here + k] + share * (track[there + k] - track[here + k]);
    const turn = track[here + 2] + share * wrapped(track[there + 2] - track[here + 2]);
    return [between(0) / 10, -between(1) / 10, -turn * TURN];
  };

  const place = (element, at) => {
    element.style.display = at ? "" : "none";
    if (at) element.setAttribute("transform", `translate(${at[0].toFixed(2)} ${at[1].toFixed(2)}) rotate(${at[2].toFixed(2)})`);
  };

  const prepare = (film) => {
    const told = JSON.parse(film.querySelector("script[type='application/json']").textContent);
    const tracks = told.tracks.map(decode);
    const panels = [...film.querySelectorAll("svg")].map((svg, index) => ({
      tracks: told.panels[index].map((track) => tracks[track]),
      world: svg.querySelector(".world"),
      agents: [...svg.querySelectorAll(".agent")],
      ghosts: [...svg.querySelectorAll(".ghost")],
      lights: [...svg.querySelectorAll(".light")],
      marks: [...svg.querySelectorAll(".mark")],
    }));
    const tools = film.querySelector(".tools");
    const slider = tools.querySelector("input[type=range]");
    const button = tools.querySelector("button");
    const clock = tools.querySelector("output");
    const speed = tools.querySelector("select");
    const last = told.steps - 1;
    let time = told.at;
    let before = 0; // when the last frame was drawn [ms]; 0: it stands still

    const show = () => {
      const step = Math.min(Math.floor(time + 1e-9), last);
      for (const panel of panels) {
        panel.agents.forEach((element, agent) => place(element, pose(panel.tracks[agent], told.steps, time)));
        for (const ghost of panel.ghosts) {
          place(ghost, pose(panels[ghost.dataset.of].tracks[0], told.steps, time));
        }
        panel.lights.forEach((element, row) => element.setAttribute("class", `light light-${told.lights[row][step]}`));
        for (const mark of panel.marks) mark.classList.toggle("yet", step < mark.dataset.step);
        if (told.follows) {
          const [x, y] = pose(panel.tracks[0], told.steps, time);
          panel.world.setAttribute("transform", `translate(${(-x).toFixed(2)} ${(-y).toFixed(2)})`);
        }
      }
      const seconds = (time * told.dt).toFixed(1);
      clock.textContent = `${seconds} s`;
      slider.value = time;
      slider.setAttribute("aria-valuetext", `${seconds} seconds`);
    };
    const stand = () => {
      before = 0;
      button.textContent = "Play";
    };
    const frame = (now) => {
      if (!before) return;
      time = Math.min(time + (Number(speed.value) * (now - before)) / 1000 / told.dt, last);
      before = now;
      show();
      if (time >= last) stand();
      else requestAnimationFrame(frame);
    };
    const toggle = () => {
      if (before) return stand();
      if (time >= last) time = 0;
      before = performance.now();
      button.textContent = "Pause";
      requestAnimationFrame(frame);
    };
    const seek = (to) => {
      stand();
      time = Math.max(0, Math.min(Number(to), last));
      show();
    };
    return { toggle, seek };
  };

  const films = new Map();
  const playerOf = (film) => films.get(film) || films.set(film, prepare(film)).get(film);
  for (const film of document.querySelectorAll(".film")) {
    const tools = film.querySelector(".tools");
    tools.hidden = false;
    tools.querySelector("button").addEventListener("click", () => playerOf(film).toggle());
    tools.querySelector("input[type=range]").addEventListener("input", (event) => playerOf(film).seek(event.target.value));
    const ghosts = tools.querySelector("input[type=checkbox]");
    if (ghosts) ghosts.addEventListener("change", () => film.classList.toggle("alone", !ghosts.checked));
    for (const jump of film.querySelectorAll("button[data-step]")) {
      jump.disabled = false;
      jump.addEventListener("click", () => playerOf(film).seek(jump.dataset.step));
    }
  }
})();
