// What the explorer of distilled images knows: sets, pixels as bytes, order, and the other side of a comparison.

import { at, tensor } from "../parts/arrays.js";
import { number } from "../parts/dom.js";

/** Bytes of some images, and the raw values that 0 and 255 stand for.
 * @typedef {{ data: Uint8Array, low: number, high: number }} Pixels */

/** One side of a comparison: image i of the set shown stands beside image rows[i] of it; −1: there is none.
 * @typedef {{ key: string, title: string, pixels: Pixels, rows: ArrayLike<number> | null }} Side */

/** @typedef {{ title: string, colour: number, rows: number[] }} Block images of one class, or of all (colour −1) */

export const NOTHING = "nothing";
export const MOMENT = "another moment";
export const NEAREST = "nearest real images";
export const START = "real images they began as";

/** What images can be sorted by beside their class; findings.py has the other copy. */
export const SCORES = /** @type {Record<string, string>} */ ({
  loss: "loss",
  gradient_norm: "gradient norm",
  influence: "influence",
  nearest_pixels: "distance to nearest real, pixels",
  nearest_features: "distance to nearest real, features",
});

const UNITS = /** @type {Record<string, string>} */ ({ loss: "nats", influence: "nats" });

/** @typedef {ReturnType<typeof createData>} Data */

/**
 * Bytes as a reader expects them: "26 KiB", "117 MiB".
 * @param {number} bytes
 */
export function size(bytes) {
  if (bytes < 1024) return `${bytes} bytes`;
  const [value, unit] = bytes < 2 ** 20 ? [bytes / 1024, "KiB"] : [bytes / 2 ** 20, "MiB"];
  return `${number(value, value < 9.95 ? 1 : 0)} ${unit}`;
}

/** @param {import("../parts/dom.js").Model} model */
export function createData(model) {
  const content = () => /** @type {import("./content.js").Content} */ (model.get("content"));
  const selection = () =>
    /** @type {{ set: string, iteration: number, images: number[], moment: number }} */ (model.get("selection"));
  const set = () => content().sets.find(({ name }) => name === selection().set) ?? content().sets[0];
  const position = () => Math.max(0, set().iterations.indexOf(selection().iteration));
  /** @type {Map<string, { key: any[], value: any }>} */
  const cache = new Map();

  /**
   * Compute once for as long as what it depends on is the same.
   * @template T
   * @param {string} name
   * @param {any[]} key
   * @param {() => T} make
   * @returns {T}
   */
  function once(name, key, make) {
    const known = cache.get(name);
    if (known && known.key.length === key.length && known.key.every((value, i) => value === key[i])) return known.value;
    const value = make();
    cache.set(name, { key, value });
    return value;
  }

  /** @param {string | null | undefined} name @param {string} [trait] */
  const values = (name, trait) => /** @type {any} */ (tensor(model, name, trait)?.data ?? null);
  const labels = () => /** @type {Int32Array} */ (values(set().labels));

  /**
   * @param {import("./content.js").SetContent} one
   * @param {number} moment
   * @returns {Pixels}
   */
  function pixelsOf(one, moment) {
    const all = /** @type {import("../parts/arrays.js").Tensor} */ (tensor(model, one.pixels));
    // One and the same object per moment: that tells a painted page that it is still right.
    return once(`pixels ${one.name} ${moment}`, [all, one], () => ({
      data: /** @type {Uint8Array} */ (at(all, moment).data),
      low: one.low,
      high: one.high,
    }));
  }

  /** What the images can be sorted by, by name: one number per image of the set shown. */
  function scores() {
    const one = set();
    const packed = model.get("findings")?.looks?.[one.name]?.scores ?? {};
    return once("scores", [one, model.get("findings")], () => {
      /** @type {Record<string, ArrayLike<number>>} */
      const found = {};
      if (one.real.nearest?.distance) found.nearest_pixels = values(one.real.nearest.distance);
      for (const name of Object.keys(packed)) found[name] = values(packed[name], "findings_arrays");
      return found;
    });
  }

  /** The images in the order in which they are seen, block by block; `shown` in view.py has the other copy.
   * @returns {Block[]} */
  function blocks() {
    const [sort, descending, together, kept] = ["sort", "descending", "by_class", "classes"].map((name) =>
      model.get(name),
    );
    const score = sort === "class" ? null : (scores()[sort] ?? null);
    return once("blocks", [set(), score, sort, descending, together, JSON.stringify(kept)], () => {
      const names = content().classes;
      const wanted = new Set(kept.length ? kept : names);
      const known = labels();
      const rows = [...Array(set().count).keys()].filter((row) => wanted.has(names[known[row]]));
      const sign = descending ? -1 : 1;
      if (score) {
        // What has no score comes last, in either direction.
        rows.sort(
          (a, b) =>
            Number(Number.isNaN(score[a])) - Number(Number.isNaN(score[b])) ||
            (Number.isNaN(score[a]) ? 0 : sign * (score[a] - score[b])) ||
            a - b,
        );
      } else if (descending) rows.reverse();
      if (!together && sort !== "class") return rows.length ? [{ title: "", colour: -1, rows }] : [];
      /** @type {Block[]} */
      const found = names.map((title, colour) => ({ title, colour, rows: [] }));
      for (const row of rows) found[known[row]].rows.push(row);
      if (sort === "class" && descending) found.reverse();
      return found.filter((block) => block.rows.length);
    });
  }

  /** The set at the moment shown. @returns {Side} */
  function here() {
    const one = set();
    const named = content().sets.some(({ name }) => name === model.get("against"));
    return {
      key: `${one.name} ${position()}`,
      title: `${named ? `${one.name}, ` : ""}iteration ${one.iterations[position()].toLocaleString("en")}`,
      pixels: pixelsOf(one, position()),
      rows: null,
    };
  }

  /** What it is compared with; null where it is compared with nothing. @returns {Side | null} */
  function there() {
    const what = model.get("against");
    const one = set();
    if (what === NOTHING) return null;
    if (what === MOMENT) {
      const moment = Math.max(0, one.iterations.indexOf(selection().moment));
      return {
        key: `${one.name} ${moment}`,
        title: `iteration ${one.iterations[moment].toLocaleString("en")}`,
        pixels: pixelsOf(one, moment),
        rows: null,
      };
    }
    if (what === NEAREST || what === START) {
      const pairs = one.real[what === NEAREST ? "nearest" : "start"];
      if (!pairs)
        return {
          key: what,
          title: what,
          pixels: { data: new Uint8Array(0), low: 0, high: 1 },
          rows: once("none", [one], () => new Int32Array(one.count).fill(-1)),
        };
      return {
        key: `${one.name} ${what}`,
        title: what,
        pixels: { data: values(pairs.pixels), low: 0, high: 1 },
        rows: values(pairs.rows),
      };
    }
    const second = content().sets.find(({ name }) => name === what) ?? one;
    const iteration = selection().iteration;
    const ended = position() === one.iterations.length - 1;
    const moment = ended
      ? second.iterations.length - 1
      : Math.max(0, second.iterations.filter((its) => its <= iteration).length - 1);
    return {
      key: `${what} ${moment}`,
      title: `${what}, iteration ${second.iterations[moment].toLocaleString("en")}`,
      pixels: pixelsOf(second, moment),
      rows: once("partners", [one, second], () => partners(second)),
    };
  }

  /** Row of the image at the same place within its class of another set; −1: it has no such image.
   * @param {import("./content.js").SetContent} second */
  function partners(second) {
    const [mine, theirs] = [labels(), /** @type {Int32Array} */ (values(second.labels))];
    const places = content().classes.map(() => /** @type {number[]} */ ([]));
    theirs.forEach((label, row) => places[label].push(row));
    const seen = content().classes.map(() => 0);
    return Int32Array.from(mine, (label) => places[label][seen[label]++] ?? -1);
  }

  /** How many images the two sides share. @param {Side} side */
  const paired = (side) =>
    side.rows
      ? once(
          "paired",
          [side.rows],
          () => Array.from(/** @type {Int32Array} */ (side.rows)).filter((row) => row >= 0).length,
        )
      : set().count;

  /**
   * Raw values (0 to 1 for a natural image) of a pixel, one per channel; null where the side has no such image.
   * @param {Side} side
   * @param {number} row
   * @param {number} x
   * @param {number} y
   */
  function valuesAt(side, row, x, y) {
    const [channels, height, width] = content().shape;
    const own = side.rows ? side.rows[row] : row;
    if (own < 0) return null;
    const { data, low, high } = side.pixels;
    return Array.from(
      { length: channels },
      (_, c) => low + (data[((own * channels + c) * height + y) * width + x] / 255) * (high - low),
    );
  }

  /** How far an image lies from its partner: mean of the differences of raw values, and of their magnitudes; null without one.
   * @param {Side} one
   * @param {Side} other
   * @param {number} row
   * @returns {[number, number] | null} */
  function apart(one, other, row) {
    const size = content().shape.reduce((product, length) => product * length, 1);
    const partner = other.rows ? other.rows[row] : row;
    if (partner < 0) return null;
    const [grow, grow2] = [one, other].map(({ pixels }) => (pixels.high - pixels.low) / 255);
    let [sum, total] = [0, 0];
    for (let i = 0; i < size; i++) {
      const difference =
        one.pixels.low +
        grow * one.pixels.data[row * size + i] -
        other.pixels.low -
        grow2 * other.pixels.data[partner * size + i];
      sum += difference;
      total += Math.abs(difference);
    }
    return [sum / size, total / size];
  }

  /** Probability of an image's class where labels are soft, at the moment shown; 1 where they are hard.
   * @param {number} row */
  function confidence(row) {
    const soft = labelAt(row);
    return soft ? Math.max(...soft) : 1;
  }

  /** The soft label of an image at the moment shown; null where labels are hard.
   * @param {number} row
   * @returns {Float32Array | null} */
  function labelAt(row) {
    const one = set();
    if (!one.soft) return null;
    const course = tensor(model, one.label_course);
    const last = position() === one.iterations.length - 1;
    return /** @type {Float32Array} */ (
      (course && !last ? at(course, position(), row) : at(/** @type {any} */ (tensor(model, one.soft_labels)), row))
        .data
    );
  }

  /** @param {number} row */
  const describe = (row) => `image ${row} of class ${content().classes[labels()[row]]}`;

  /** What is known about an image, as lines of a tooltip.
   * @param {number} row
   * @returns {[string, string][]} */
  function facts(row) {
    const source = values(set().source)?.[row];
    const found = Object.entries(scores()).filter(([, score]) => !Number.isNaN(score[row]));
    return [
      ...(set().soft
        ? [
            /** @type {[string, string]} */ ([
              "label",
              `${content().classes[labels()[row]]} ${number(100 * confidence(row), 1)} %`,
            ]),
          ]
        : []),
      ...found.map(
        ([name, score]) =>
          /** @type {[string, string]} */ ([
            SCORES[name],
            `${number(score[row], Math.abs(score[row]) < 0.1 ? 4 : 3)}${UNITS[name] ? ` ${UNITS[name]}` : ""}`,
          ]),
      ),
      ...(source >= 0 ? [/** @type {[string, string]} */ (["began as real image", String(source)])] : []),
    ];
  }

  return {
    model,
    content,
    selection,
    set,
    position,
    once,
    values,
    labels,
    scores,
    blocks,
    here,
    there,
    paired,
    valuesAt,
    apart,
    labelAt,
    describe,
    facts,
  };
}
