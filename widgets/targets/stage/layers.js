// What a plane draws over its ground: points, paths of selected and launched seeds, rings and numbers.

import { tensor } from "../../parts/arrays.js";
import { classColour, isHollow } from "../../parts/colours.js";

/** @typedef {import("../content.js").Run} Run */
/** @typedef {import("../../parts/plot_layers.js").Layer} Layer */

/**
 * The points of a run, by class where colours mean classes.
 * @param {import("../scene.js").Scene} scene
 * @param {import("../../parts/theme.js").Theme} theme
 * @param {Run} one
 * @param {import("../scene.js").Kind} kind
 * @returns {import("./dots.js").Dots[]}
 */
export function points(scene, theme, one, kind) {
  const cloud = scene.cloud(one, kind, scene.indexOf(one));
  const count = cloud.length / 2;
  const width = count > 1200 ? 4 : count > 300 ? 5 : count > 80 ? 6 : 8;
  const labels = scene.model.get("colour") === "class" ? scene.labels() : null;
  if (!labels) {
    const together = scene.model.get("arrange") === "together";
    const [x, y] = [new Float32Array(count), new Float32Array(count)];
    for (let i = 0; i < count; i++) [x[i], y[i]] = [cloud[2 * i], cloud[2 * i + 1]];
    return [{ x, y, colour: scene.colour(one, theme.dark), hollow: together && scene.hollow(one), width }];
  }
  const groups = new Map();
  labels.forEach((label, i) => {
    let group = groups.get(label);
    if (!group) groups.set(label, (group = { x: [], y: [] }));
    group.x.push(cloud[2 * i]);
    group.y.push(cloud[2 * i + 1]);
  });
  return [...groups].map(([label, { x, y }]) => ({
    x,
    y,
    colour: label < 0 ? theme.quiet : classColour(label, theme.dark),
    hollow: label >= 0 && isHollow(label),
    width,
  }));
}

/**
 * Paths of states and of targets: of the selected seeds, and of launches.
 * @param {import("../scene.js").Scene} scene
 * @param {import("../../parts/theme.js").Theme} theme
 * @param {Run[]} runs
 * @returns {Layer[]}
 */
export function paths(scene, theme, runs) {
  if (!scene.model.get("paths")) return [];
  /** @type {Layer[]} */
  const found = [];
  for (const one of runs) {
    const colour = scene.colour(one, theme.dark);
    const index = scene.indexOf(one);
    for (const { states, targets } of trajectories(scene, one)) {
      found.push({ kind: "line", ...states, colour: runs.length > 1 ? colour : theme.ink, width: 1.4, opacity: 0.8 });
      found.push({ kind: "line", ...targets, colour, width: 1.8, dash: [2, 3] });
      const at = Math.min(index, states.x.length - 1);
      found.push({
        kind: "line",
        x: [states.x[at], targets.x[at]],
        y: [states.y[at], targets.y[at]],
        colour,
        width: 1,
        opacity: 0.7,
      });
      found.push({ kind: "points", x: [states.x[at]], y: [states.y[at]], colour: theme.ink, width: 8, hollow: true });
      found.push({ kind: "points", x: [targets.x[at]], y: [targets.y[at]], colour, width: 9 });
    }
  }
  return found;
}

/**
 * Every trajectory that is drawn of a run.
 * @param {import("../scene.js").Scene} scene
 * @param {Run} one
 */
function trajectories(scene, one) {
  const of = (/** @type {(index: number) => ArrayLike<number>} */ at) => {
    const [x, y] = [new Float32Array(one.steps + 1), new Float32Array(one.steps + 1)];
    for (let k = 0; k <= one.steps; k++) [x[k], y[k]] = [at(k)[0], at(k)[1]];
    return { x, y };
  };
  const seeds = scene.seeds().map((seed) => ({
    states: of((k) => scene.place(one, "states", k, seed)),
    targets: of((k) => scene.place(one, "targets", k, seed)),
  }));
  const launched = scene
    .launches()
    .flatMap(({ runs }) => runs.filter(({ run }) => run === one.name))
    .flatMap(({ states, targets }) => {
      const [path, believed] = [states, targets].map(
        (name) => /** @type {import("../../parts/arrays.js").Tensor} */ (tensor(scene.model, name, "launches_arrays")),
      );
      const split = (/** @type {import("../../parts/arrays.js").Tensor} */ all) => ({
        x: all.data.filter((_, i) => i % 2 === 0),
        y: all.data.filter((_, i) => i % 2 === 1),
      });
      return [{ states: split(path), targets: split(believed) }];
    });
  return [...seeds, ...launched];
}

/**
 * Rings around the selected seeds and the one under the cursor.
 * @param {import("../scene.js").Scene} scene
 * @param {import("../../parts/theme.js").Theme} theme
 * @param {Run[]} runs
 * @param {import("../scene.js").Kind} kind
 * @returns {Layer[]}
 */
export function marks(scene, theme, runs, kind) {
  const hovered = scene.hovered();
  const ringed = [...scene.seeds(), ...(hovered === null ? [] : [hovered])];
  if (!ringed.length) return [];
  return runs.flatMap((one) => {
    const places = ringed.map((seed) => scene.place(one, kind, scene.indexOf(one), seed));
    return [
      {
        kind: /** @type {const} */ ("points"),
        x: places.map(([x]) => x),
        y: places.map(([, y]) => y),
        colour: theme.focus,
        width: 13,
        hollow: true,
      },
    ];
  });
}

/**
 * The numbers of the selected seeds, beside their points.
 * @param {import("../scene.js").Scene} scene
 * @param {import("../../parts/theme.js").Theme} theme
 * @param {CanvasRenderingContext2D} context
 * @param {import("../../parts/plot_axes.js").Scales} scales
 * @param {Run[]} runs
 * @param {import("../scene.js").Kind} kind
 */
export function labels(scene, theme, context, scales, runs, kind) {
  context.font = theme.type(11, 600);
  context.textAlign = "left";
  context.lineJoin = "round";
  context.lineWidth = 3;
  context.strokeStyle = theme.paper;
  context.fillStyle = theme.ink;
  for (const one of runs) {
    for (const seed of scene.seeds()) {
      const [x, y] = scene.place(one, kind, scene.indexOf(one), seed);
      context.strokeText(String(seed), scales.x(x) + 9, scales.y(y) - 6);
      context.fillText(String(seed), scales.x(x) + 9, scales.y(y) - 6);
    }
  }
}
