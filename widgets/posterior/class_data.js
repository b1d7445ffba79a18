// What a classification is at a moment: probabilities, latent moments, boundaries, targets, and their table.

import { zeroLine } from "./stage/map.js";
import { at, tensor } from "../parts/arrays.js";
import { short } from "../parts/numbers.js";

/** One approach; mirrors `_variant` in classes.py.
 * @typedef {object} Variant
 * @property {"data" | "distribution"} approach
 * @property {string} mode
 * @property {number} steps
 * @property {string} places
 * @property {string} probabilities
 * @property {string} mean
 * @property {string} std
 * @property {string} targets
 * @property {number[]} evidence
 * @property {{ ece: number[], nll: number[], error: number[], confidence: string, accuracy: string, count: string }
 *   | null} judged
 */

/** Mirrors `_content` in classes.py.
 * @typedef {object} Content
 * @property {"classification"} task
 * @property {boolean} live
 * @property {string} why_not
 * @property {string} method
 * @property {import("./content.js").Feature[]} features
 * @property {number[]} axes
 * @property {number[] | null} shape
 * @property {[number, number][]} spans
 * @property {string[]} classes
 * @property {string[]} outputs
 * @property {boolean} tested
 * @property {{ places: string, labels: string, groups: string }} train
 * @property {{ mixing: number[], length_scale: number | null, amplitude: number | null, steps: number }} given
 * @property {string} kernel
 * @property {string[]} kernels
 * @property {Variant[]} variants
 */

/** @param {import("../parts/dom.js").Model} model */
export function createClassData(model) {
  const content = () => /** @type {Content} */ (model.get("content"));
  const numbers = (/** @type {string} */ name) =>
    /** @type {import("../parts/arrays.js").Tensor} */ (tensor(model, name));
  let stamp = /** @type {any} */ (null);
  /** @type {Map<string, any>} */
  let memory = new Map();

  /**
   * @template V
   * @param {string} key
   * @param {() => V} compute
   * @returns {V}
   */
  function once(key, compute) {
    if (stamp !== model.get("content")) {
      stamp = model.get("content");
      memory = new Map();
    }
    if (!memory.has(key)) memory.set(key, compute());
    return memory.get(key);
  }

  const position = () => Math.min(model.get("steps"), Number(model.get("selection").step)) - 1;
  const stepOf = (/** @type {Variant} */ variant) => Math.min(variant.steps - 1, position());
  const latent = () =>
    content().outputs.length === 1 ? 0 : Math.max(0, content().classes.indexOf(model.get("class_name")));
  const chosen = () => Math.max(0, content().classes.indexOf(model.get("class_name")));

  /**
   * Values at every place: of one latent function, or of all classes.
   * @param {number} v
   * @param {number} t
   * @param {"probability" | "mean" | "std"} show
   */
  function values(v, t, show) {
    const variant = content().variants[v];
    if (show === "probability") return once(`p ${v} ${t}`, () => at(numbers(variant.probabilities), t).data);
    return once(`${show} ${v} ${t} ${latent()}`, () => {
      const { data, shape } = at(numbers(variant[show]), t);
      return Float64Array.from({ length: shape[0] }, (_, i) => data[i * shape[1] + latent()]);
    });
  }

  /** Where class c and its strongest rival are equally likely. @param {number} v @param {number} t */
  function boundary(v, t) {
    return once(`boundary ${v} ${t}`, () => {
      const [ny, nx] = /** @type {number[]} */ (content().shape);
      const classes = content().classes.length;
      const p = values(v, t, "probability");
      const places = numbers(content().variants[v].places).data;
      const [x0, x1, y0, y1] = [places[0], places[2 * (nx - 1)], places[1], places[2 * nx * (ny - 1) + 1]];
      const x = (/** @type {number} */ j) => x0 + (j / (nx - 1)) * (x1 - x0);
      const y = (/** @type {number} */ i) => y0 + (i / (ny - 1)) * (y1 - y0);
      const lines = Array.from({ length: classes > 2 ? classes : 1 }, (_, c) =>
        zeroLine(
          (i, j) => {
            const from = (i * nx + j) * classes;
            let rival = -1;
            for (let k = 0; k < classes; k++) if (k !== c && p[from + k] > rival) rival = p[from + k];
            return p[from + c] - rival;
          },
          nx,
          ny,
          x,
          y,
        ),
      );
      const joined = new Float64Array(lines.reduce((sum, line) => sum + line.length, 0));
      lines.reduce((offset, line) => (joined.set(line, offset), offset + line.length), 0);
      return joined;
    });
  }

  /** @param {number} v @param {[number, number]} place */
  function placeAt(v, [x, y]) {
    const places = numbers(content().variants[v].places).data;
    let best = 0;
    let distance = Infinity;
    const [wide, tall] = content().spans.map(([low, high]) => high - low || 1);
    for (let i = 0; i < places.length / 2; i++) {
      const d = ((places[2 * i] - x) / wide) ** 2 + ((places[2 * i + 1] - y) / tall) ** 2;
      if (d < distance) [best, distance] = [i, d];
    }
    return best;
  }

  /** @param {number} v @param {number} i @returns {[string, string][]} */
  function reading(v, i) {
    const { classes } = content();
    const t = stepOf(content().variants[v]);
    const p = values(v, t, "probability");
    const order = classes.map((_, c) => c).sort((a, b) => p[i * classes.length + b] - p[i * classes.length + a]);
    return [
      ...order
        .slice(0, 4)
        .map(
          (c) => /** @type {[string, string]} */ ([classes[c], `${(100 * p[i * classes.length + c]).toFixed(1)} %`]),
        ),
      ["latent mean", short(values(v, t, "mean")[i])],
      ["latent σ", short(values(v, t, "std")[i])],
    ];
  }

  /**
   * What each step gave a training row to learn.
   * @param {number} v
   * @param {number} row
   * @returns {[string, string][]}
   */
  function targetsOf(v, row) {
    const { data, shape } = numbers(content().variants[v].targets);
    const group = numbers(content().train.groups).data[row];
    const t = stepOf(content().variants[v]);
    return [["target of this step", short(data[(t * shape[1] + group) * shape[2] + latent()])]];
  }

  /** What is seen, as numbers; the same columns as `.data()` in Python.
   * @returns {import("../parts/frame.js").Table} */
  function table() {
    const { classes, axes, features, variants } = content();
    return {
      columns: [
        "approach",
        ...axes.map((axis) => features[axis].name),
        ...classes.map((name) => `probability[${name}]`),
        "mean",
        "std",
      ],
      rows: variants.flatMap((variant, v) => {
        const t = stepOf(variant);
        const places = numbers(variant.places).data;
        const [p, mean, std] = [values(v, t, "probability"), values(v, t, "mean"), values(v, t, "std")];
        return Array.from({ length: mean.length }, (_, i) => [
          variant.approach,
          ...axes.map((_axis, k) => places[axes.length * i + k]),
          ...classes.map((_name, c) => p[i * classes.length + c]),
          mean[i],
          std[i],
        ]);
      }),
    };
  }

  return {
    content,
    numbers,
    once,
    position,
    stepOf,
    latent,
    chosen,
    values,
    boundary,
    placeAt,
    reading,
    targetsOf,
    table,
  };
}
