// Where the pictures of the strip lie: a group of rows for each seed, a row for each run, columns along the timeline.

/** One row of pictures: a run's beliefs about a seed (or, for points, about all of them), and its noisy states below.
 * @typedef {object} Row
 * @property {import("../content.js").Run} run
 * @property {number} seed −1: all
 * @property {number} y top of the row
 * @property {number[]} x left edge of the picture of each index
 * @property {boolean[]} kept those with room of their own
 */

/**
 * @typedef {{ rows: Row[], groups: { seed: number, y: number, height: number }[], left: number, size: number, ghost:
 *   number, width: number, height: number, at: (place: number) => number }} Layout
 */

const HEAD = 20; // px; the steps above the rows
const TITLE = 17; // px; a seed's line above its rows

/**
 * @param {import("../scene.js").Scene} scene
 * @param {number[]} seeds none: one row per run, for all of them
 * @param {number} width
 * @param {number} left room for the names
 * @param {{ all: boolean, ghost: boolean, least: number, most: number, tall: number }} how ghosts only where there
 *   is room for them
 * @returns {Layout}
 */
export function createRows(scene, seeds, width, left, { all, ghost, least, most, tall }) {
  const clock = scene.run();
  const pitch = (width - left) / (clock.steps + 1);
  const size = Math.floor(all ? Math.max(5, Math.min(most, pitch - 1)) : Math.max(least, Math.min(most, pitch - 3)));
  const span = width - left - size - 2;
  const at = (/** @type {number} */ place) => left + (clock.steps ? (place / clock.steps) * span : 0);
  const small = Math.round(0.62 * size);
  const count = Math.max(1, seeds.length) * scene.runs().length;
  const below = ghost && size >= 20 && count * (size + small + 3) + seeds.length * 22 <= tall ? small : 0;
  /** @type {Row[]} */
  const rows = [];
  /** @type {Layout["groups"]} */
  const groups = [];
  let y = HEAD;
  for (const seed of seeds.length ? seeds : [-1]) {
    const top = y;
    if (seeds.length) y += TITLE;
    for (const run of scene.runs()) {
      const x = Array.from({ length: run.steps + 1 }, (_, index) => at(scene.placeOf(run, index)));
      rows.push({ run, seed, y, x, kept: apart(x, size) });
      y += size + below + 3;
    }
    groups.push({ seed, y: top, height: y - top });
    y += seeds.length ? 5 : 0;
  }
  return { rows, groups, left, size, ghost: below, width, height: y + 2, at };
}

/**
 * Which of some pictures are drawn so that none covers another: the last always, of the rest as many as there is
 * room for.
 * @param {number[]} x rising
 * @param {number} size
 */
function apart(x, size) {
  const kept = x.map(() => false);
  const last = x.length - 1;
  kept[last] = true;
  let edge = -Infinity;
  for (let k = 0; k < last; k++) {
    if (x[k] >= edge && x[k] + size + 0.5 <= x[last]) {
      kept[k] = true;
      edge = x[k] + size + 0.5;
    }
  }
  return kept;
}

/**
 * The row and index under a pixel; null where there is none.
 * @param {Layout} layout
 * @param {number} x
 * @param {number} y
 */
export function cellAt({ rows, left, size, ghost }, x, y) {
  const row = rows.find((one) => y >= one.y && y < one.y + size + ghost + 3);
  if (!row) return null;
  if (x < left) return { row, index: null };
  // The latest step that has begun there: a picture holds until the next.
  let index = 0;
  while (index + 1 < row.x.length && row.x[index + 1] <= x) index++;
  return { row, index };
}
