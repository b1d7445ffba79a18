// What a FeatureSimilarityExplorer's arrays say at a moment: slices, differences, best matches, tables.

import { at, extent, mean, tensor } from "../parts/arrays.js";

/** A matrix as it is seen now.
 * @typedef {object} Seen
 * @property {Float32Array} values
 * @property {Float32Array | null} intervals
 * @property {string[]} rows
 * @property {string[]} columns
 * @property {number} n
 * @property {(row: number, column: number) => string} reason why a cell has no value
 */

/** @param {import("../parts/dom.js").Model} model */
export function createData(model) {
  const content = () => /** @type {import("./content.js").Content} */ (model.get("content"));
  /** @type {Map<string, any>} */
  let memory = new Map();
  let remembered = /** @type {any} */ (null);

  /**
   * Compute once per content, measure and class.
   * @template T
   * @param {string} key
   * @param {() => T} compute
   * @returns {T}
   */
  function once(key, compute) {
    if (remembered !== model.get("content")) {
      memory = new Map();
      remembered = model.get("content");
    }
    const full = `${key}|${model.get("measure")}|${model.get("class_name")}`;
    if (!memory.has(full)) memory.set(full, compute());
    return memory.get(full);
  }

  /** The index of the current epoch on the timeline. */
  function position() {
    const { epochs } = content();
    const index = epochs.indexOf(model.get("selection").epoch);
    return index < 0 ? Math.max(0, epochs.length - 1) : index;
  }

  /**
   * @param {number} p which pair
   * @param {number} [when] position on the timeline
   * @returns {Seen | null} null when this pair lacks the measure or the class
   */
  function seen(p, when = position()) {
    return once(`seen ${p} ${when}`, () => {
      const pair = content().pairs[p];
      const measured = pair.measures[model.get("measure")];
      if (!measured) return null;
      const slice = pair.slices[when] ?? 0;
      const name = model.get("class_name");
      let values;
      if (name) {
        const index = measured.classes.indexOf(name);
        const stack = tensor(model, measured.per_class);
        if (!stack || index < 0) return null;
        values = at(stack, slice, index).data;
      } else values = at(/** @type {any} */ (tensor(model, measured.values)), slice).data;
      const intervals = name ? null : tensor(model, measured.intervals);
      return {
        values: /** @type {Float32Array} */ (values),
        intervals: intervals && /** @type {Float32Array} */ (at(intervals, slice).data),
        rows: pair.layers_a,
        columns: pair.layers_b,
        n: measured.n,
        reason: (row, column) => measured.masked[`${row},${column}`] ?? "no value",
      };
    });
  }

  /**
   * Second map minus first map, over the layers that both have.
   * @param {number} [when]
   * @returns {Seen | null}
   */
  function difference(when = position()) {
    return once(`difference ${when}`, () => {
      const matched = content().difference;
      const [first, second] = content().pairs.length === 2 ? [seen(0, when), seen(1, when)] : [null, null];
      if (!matched || "reason" in matched || !first || !second) return null;
      const { rows, columns } = matched;
      const values = new Float32Array(rows.length * columns.length);
      rows.forEach((row, i) =>
        columns.forEach((column, j) => {
          values[i * columns.length + j] =
            second.values[row.second * second.columns.length + column.second] -
            first.values[row.first * first.columns.length + column.first];
        }),
      );
      return {
        values,
        intervals: null,
        rows: rows.map(({ layer }) => layer),
        columns: columns.map(({ layer }) => layer),
        n: Math.min(first.n, second.n),
        reason: () => "one of the two has no value here",
      };
    });
  }

  const moments = () => Math.max(1, content().epochs.length);

  /**
   * Where most similarities over all pairs and epochs lie: colours stay comparable along the timeline. From the 2nd to
   * the 98th percentile, rounded outwards to twentieths; picture.py has the other copy.
   * @returns {[number, number]}
   */
  function range() {
    return once("range", () => {
      const all = content()
        .pairs.flatMap((_, p) =>
          Array.from({ length: moments() }, (__, when) => seen(p, when)).flatMap((view) =>
            view ? [...view.values].filter((value) => !Number.isNaN(value)) : [],
          ),
        )
        .sort((a, b) => a - b);
      if (!all.length) return [0, 1];
      const at = (/** @type {number} */ share) => {
        const place = share * (all.length - 1);
        const k = Math.floor(place);
        return all[k] + (place - k) * ((all[k + 1] ?? all[k]) - all[k]);
      };
      const low = Math.floor(at(0.02) * 20 + 1e-6) / 20;
      const high = Math.ceil(at(0.98) * 20 - 1e-6) / 20;
      return [low, Math.max(high, low + 0.05)];
    });
  }

  /** Lowest and highest similarity over all pairs and epochs. */
  function extremes() {
    return once("extremes", () =>
      extent(
        content().pairs.flatMap((_, p) =>
          Array.from({ length: moments() }, (__, when) => extent(seen(p, when)?.values ?? [])).flat(),
        ),
      ),
    );
  }

  /** Largest absolute difference over all epochs, so that a symmetric scale holds for the whole timeline. */
  function spread() {
    return once("spread", () => {
      let most = 0;
      for (let when = 0; when < moments(); when++) {
        const [low, high] = extent(difference(when)?.values ?? []);
        if (!Number.isNaN(low)) most = Math.max(most, -low, high);
      }
      return most || 1;
    });
  }

  /**
   * Mean similarity at each position of the timeline.
   * @param {number} p
   */
  function means(p) {
    return once(`means ${p}`, () => Array.from({ length: moments() }, (_, when) => mean(seen(p, when)?.values ?? [])));
  }

  /**
   * Two networks may name corresponding layers differently; a selection holds the names of the first pair. Where layer
   * `name` is on one axis of pair `p` (−1: of the difference); −1 where it is not.
   * @param {number} p
   * @param {"rows" | "columns"} axis
   * @param {string} name
   */
  function locate(p, axis, name) {
    const { pairs, difference: matched } = content();
    const side = axis === "rows" ? "layers_a" : "layers_b";
    const pairing = matched && !("reason" in matched) ? matched[axis] : null;
    const first = pairs[0][side].indexOf(name);
    if (p < 0)
      return pairing
        ? pairing.findIndex((match) => (first >= 0 ? match.first === first : pairs[1][side][match.second] === name))
        : -1;
    const own = pairs[p][side].indexOf(name);
    if (p === 0 || own >= 0) return own;
    return pairing?.find((match) => match.first === first)?.second ?? -1;
  }

  /**
   * The name under which a selection holds a layer; the inverse of `locate`.
   * @param {number} p
   * @param {"rows" | "columns"} axis
   * @param {number} index
   */
  function nameOf(p, axis, index) {
    const { pairs, difference: matched } = content();
    const side = axis === "rows" ? "layers_a" : "layers_b";
    if (p === 0) return pairs[0][side][index];
    const pairing = matched && !("reason" in matched) ? matched[axis] : [];
    const match = p < 0 ? pairing[index] : pairing.find(({ second }) => second === index);
    return match ? pairs[0][side][match.first] : pairs[1][side][index];
  }

  /**
   * One cell of what is seen.
   * @param {number} p which pair; −1: the difference
   * @param {{ a: string, b: string }} names
   * @param {number} [when]
   */
  function cell(p, { a, b }, when = position()) {
    const view = p < 0 ? difference(when) : seen(p, when);
    const [row, column] = [locate(p, "rows", a), locate(p, "columns", b)];
    const there = view !== null && row >= 0 && column >= 0;
    const k = there ? row * view.columns.length + column : -1;
    return {
      row,
      column,
      there,
      value: there ? view.values[k] : NaN,
      interval:
        there && view.intervals
          ? /** @type {[number, number]} */ ([view.intervals[2 * k], view.intervals[2 * k + 1]])
          : null,
    };
  }

  /**
   * One cell along the timeline.
   * @param {number} p
   * @param {{ a: string, b: string }} names
   */
  function course(p, names) {
    return once(`course ${p} ${names.a} ${names.b}`, () =>
      Array.from({ length: moments() }, (_, when) => cell(p, names, when).value),
    );
  }

  /** What is seen, as numbers; the same columns as `.data()` in Python.
   * @returns {import("../parts/frame.js").Table} */
  function table() {
    const { pairs } = content();
    if (pairs.length === 1) {
      const view = seen(0);
      if (!view) return { columns: ["layer_a", "layer_b", "value"], rows: [] };
      const bounds = view.intervals;
      return {
        columns: ["layer_a", "layer_b", "value", ...(bounds ? ["low", "high"] : [])],
        rows: view.rows.flatMap((a, i) =>
          view.columns.map((b, j) => {
            const k = i * view.columns.length + j;
            return [a, b, view.values[k], ...(bounds ? [bounds[2 * k], bounds[2 * k + 1]] : [])];
          }),
        ),
      };
    }
    const shift = difference();
    const rows = pairs.flatMap((pair, p) => {
      const view = seen(p);
      return view
        ? view.rows.flatMap((a, i) =>
            view.columns.map((b, j) => [pair.title, a, b, view.values[i * view.columns.length + j]]),
          )
        : [];
    });
    if (shift)
      rows.push(
        ...shift.rows.flatMap((a, i) =>
          shift.columns.map((b, j) => ["difference", a, b, shift.values[i * shift.columns.length + j]]),
        ),
      );
    return { columns: ["pair", "layer_a", "layer_b", "value"], rows };
  }

  return {
    content,
    position,
    seen,
    difference,
    range,
    extremes,
    spread,
    means,
    locate,
    nameOf,
    cell,
    course,
    table,
    once,
  };
}

/** @typedef {ReturnType<typeof createData>} Data */

/**
 * The most similar column of each row; rows without any value are left out.
 * @param {Seen} view
 * @returns {[number, number][]}
 */
export function bestMatches(view) {
  const width = view.columns.length;
  /** @type {[number, number][]} */
  const found = [];
  view.rows.forEach((_, row) => {
    let best = -1;
    for (let column = 0; column < width; column++) {
      const value = view.values[row * width + column];
      if (!Number.isNaN(value) && (best < 0 || value > view.values[row * width + best])) best = column;
    }
    if (best >= 0) found.push([row, best]);
  });
  return found;
}

/**
 * The most similar pairs of layers, one per row and column at most, so that they show different things.
 * @param {Seen} view
 * @param {number} count
 */
export function strongest(view, count) {
  const all = [...view.values.keys()]
    .filter((k) => !Number.isNaN(view.values[k]))
    .sort((p, q) => view.values[q] - view.values[p]);
  const used = new Set();
  const found = [];
  for (const k of all) {
    const [row, column] = [Math.floor(k / view.columns.length), k % view.columns.length];
    if (used.has(`row ${row}`) || used.has(`column ${column}`)) continue;
    used.add(`row ${row}`).add(`column ${column}`);
    found.push({ a: view.rows[row], b: view.columns[column], value: view.values[k] });
    if (found.length === count) break;
  }
  return found;
}
