// What every part of the explorer of diffusion targets asks: which runs, step and seeds are shown, pictures and places.

import { at, tensor } from "../parts/arrays.js";
import { runColour } from "../parts/colours.js";
import { short } from "../parts/numbers.js";

/** @typedef {"states" | "targets"} Kind */
/** @typedef {{ step: number | "sample", seeds: number[], run: string, switch: number | null }} Selection */
/** @typedef {{ run: import("./content.js").Run, index: number, seed: number }} Aim */
/** @typedef {ReturnType<typeof createScene>} Scene */

const MOST = 600; // pictures kept

const DASHES = [[], [7, 3], [2, 2]];

/** @param {import("../parts/frame.js").Frame} frame */
export function createScene(frame) {
  const { model } = frame;
  const content = () => /** @type {import("./content.js").Content} */ (model.get("content"));
  const selection = () => /** @type {Selection} */ (model.get("selection"));
  const runs = () => content().runs;
  /** The run whose steps the timeline counts. */
  const run = () => runs().find(({ name }) => name === selection().run) ?? runs()[0];
  /** How many runs of this one's role come before it; others have colours of their own. @param {import("./content.js").Run} one */
  const twin = (one) =>
    one.role === "other"
      ? 0
      : Math.min(
          DASHES.length - 1,
          runs()
            .filter(({ role }) => role === one.role)
            .indexOf(one),
        );
  /** @type {number | null} */
  let hovered = null;
  /** @type {Aim | null} */
  let aimed = null;
  /** @type {Map<string, HTMLCanvasElement>} */
  const pictures = new Map();
  let drawnOf = /** @type {any} */ (null);

  /** Place on the timeline: 0 is the first step, K the sample. */
  function position() {
    const { step } = selection();
    return step === "sample" ? run().steps : Math.max(0, Math.min(run().steps - 1, step - 1));
  }

  /**
   * Where a run is while the timeline stands at a position of `run()`: its latest step that is not ahead in noise
   * level.
   * `index_of` in view.py has the other copy.
   * @param {import("./content.js").Run} one
   * @param {number} [place]
   */
  function indexOf(one, place = position()) {
    const clock = run();
    if (one === clock) return place;
    if (place >= clock.steps) return one.steps;
    let index = 0;
    while (index + 1 < one.steps && one.levels[index + 1] <= clock.levels[place] + 1e-6) index++;
    return index;
  }

  /**
   * Where on the timeline a step of a run lies, between the positions of `run()`.
   * @param {import("./content.js").Run} one
   * @param {number} index
   */
  function placeOf(one, index) {
    const clock = run();
    if (one === clock) return index;
    if (index >= one.steps) return clock.steps;
    const level = one.levels[index];
    const next = clock.levels.findIndex((known) => known >= level - 1e-9);
    if (next < 0) {
      // Between the clock's last step and its sample: by time, whose end is 0.
      const last = clock.times[clock.steps - 1];
      return clock.steps - 1 + Math.max(0, Math.min(1, 1 - one.times[index] / last));
    }
    if (next === 0) return 0;
    return next - 1 + (level - clock.levels[next - 1]) / (clock.levels[next] - clock.levels[next - 1]);
  }

  /** @param {import("./content.js").Run} one @param {Kind} kind */
  const places = (one, kind) =>
    /** @type {import("../parts/arrays.js").Tensor} */ (
      tensor(model, kind === "states" ? one.states_at : one.targets_at)
    );

  /**
   * Places of all seeds at a step, x and y by turns.
   * @param {import("./content.js").Run} one @param {Kind} kind @param {number} index
   */
  const cloud = (one, kind, index) => /** @type {Float32Array} */ (at(places(one, kind), index).data);

  /**
   * A seed's picture, one pixel per pixel; null where it has none.
   * @param {import("./content.js").Run} one @param {Kind} kind @param {number} index @param {number} seed
   */
  function picture(one, kind, index, seed) {
    const source = tensor(model, kind === "states" ? one.states : one.targets);
    if (!source || seed >= source.shape[1]) return null;
    if (drawnOf !== model.get("arrays")) {
      pictures.clear();
      drawnOf = model.get("arrays");
    }
    const key = `${one.name} ${kind} ${index} ${seed}`;
    const known = pictures.get(key);
    if (known) return known;
    const [channels, height, width] = source.shape.slice(2);
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height];
    const image = new ImageData(width, height);
    paint(
      /** @type {Uint8Array} */ (at(source, index, seed).data),
      channels,
      new Uint32Array(image.data.buffer),
      0,
      width,
      width,
      height,
    );
    canvas.getContext("2d")?.putImageData(image, 0, 0);
    if (pictures.size >= MOST) pictures.clear();
    pictures.set(key, canvas);
    return canvas;
  }

  return {
    model,
    content,
    selection,
    runs,
    run,
    position,
    /** What the timeline's positions are called. */
    positions: () =>
      /** @type {(number | string)[]} */ ([...Array(run().steps).keys()].map((k) => k + 1)).concat("sample"),
    /** @param {number} index move the timeline to a position */
    go: (index) => frame.select({ step: index >= run().steps ? "sample" : index + 1 }),
    /**
     * Count the timeline in the steps of another run, at the same noise.
     * @param {import("./content.js").Run} one
     */
    count(one) {
      const index = indexOf(one);
      frame.select({ run: one.name, step: index >= one.steps ? "sample" : index + 1 });
    },
    indexOf,
    placeOf,
    /** Pinned seeds, the first one first. */
    seeds: () => selection().seeds,
    hovered: () => hovered,
    /** The seed under the cursor, else the first pinned one; null: none. */
    shown: () => hovered ?? selection().seeds[0] ?? null,
    /** @param {number | null} seed */
    hover(seed) {
      if (seed === hovered) return;
      hovered = seed;
      frame.invalidate();
    },
    /** States of a run are drawn over √(α² + σ²): its noise explodes. @param {import("./content.js").Run} one */
    shrunk: (one) => one.start / (one.scales[0][1] || 1) < 0.999,
    /** The part of the plane that is drawn. */
    span: () =>
      model.get("show") === "targets" && model.get("field") === "nothing"
        ? content().plane.close
        : content().plane.span,
    /** The cell of the strip under the cursor; null: none. */
    aimed: () => aimed,
    /** @param {Aim | null} cell */
    aim(cell) {
      if (cell?.run === aimed?.run && cell?.index === aimed?.index && cell?.seed === aimed?.seed) return;
      aimed = cell;
      frame.invalidate();
    },
    /**
     * Seeds of the strip: the first few, and those selected beyond them; `shown_seeds` in view.py has the other copy.
     */
    listed() {
      const { count, pictured } = content();
      const first = Math.min(model.get("rows"), count, Math.max(1, pictured));
      return [...new Set([...Array(first).keys(), ...selection().seeds])];
    },
    /** @param {number[]} seeds */
    pin: (seeds) => frame.select({ seeds: [...new Set(seeds)] }),
    /**
     * Pin a seed, or let it go.
     * @param {number} seed
     * @param {boolean} more keep the others
     */
    toggle(seed, more) {
      const { seeds } = selection();
      const there = seeds.includes(seed);
      if (more) frame.select({ seeds: there ? seeds.filter((one) => one !== seed) : [...seeds, seed] });
      else frame.select({ seeds: there && seeds.length === 1 ? [] : [seed] });
    },
    /** Trajectories from noise that was clicked. */
    launches: () => /** @type {import("./stage/plane.js").Launch[]} */ (model.get("launches")?.launches ?? []),
    /** Class of each seed, −1: none; null where there are no classes. */
    labels: () => /** @type {Int32Array | null} */ (tensor(model, content().condition)?.data ?? null),
    /** @param {import("./content.js").Run} one @param {boolean} dark */
    colour: (one, dark) => runColour(one.role, one.other, dark),
    /** Runs of one role share its colour: the second and third have dashed lines and hollow points. @param {import("./content.js").Run} one */
    dash: (one) => DASHES[twin(one)],
    /** @param {import("./content.js").Run} one */
    hollow: (one) => twin(one) > 0,
    cloud,
    /**
     * A seed's place in the plane.
     * @param {import("./content.js").Run} one
     * @param {Kind} kind
     * @param {number} index
     * @param {number} seed
     * @returns {[number, number]}
     */
    place: (one, kind, index, seed) => {
      const all = cloud(one, kind, index);
      return [all[2 * seed], all[2 * seed + 1]];
    },
    /** Distances of all seeds' x̂₀ to their samples at a step. @param {import("./content.js").Run} one @param {number} index */
    apart: (one, index) =>
      /** @type {Float32Array} */ (
        at(/** @type {import("../parts/arrays.js").Tensor} */ (tensor(model, one.apart)), index).data
      ),
    picture,
    /** A class name, or "" where the seed has none. @param {number} seed */
    className(seed) {
      const labels = tensor(model, content().condition)?.data;
      return labels && labels[seed] >= 0 ? content().classes[labels[seed]] : "";
    },
    /**
     * What was measured of a run at each step; null where it was not.
     * @param {import("./content.js").Run} one
     * @param {string} measure
     */
    curve: (one, measure) =>
      /** @type {Float32Array | null} */ (
        tensor(model, model.get("curves")?.[one.name]?.[measure], "curves_arrays")?.data ?? null
      ),
    /** Some run has this measure. @param {string} measure */
    has: (measure) => runs().some(({ name }) => model.get("curves")?.[name]?.[measure]),
    /** Where a run is now, in words. @param {import("./content.js").Run} one */
    when(one) {
      const index = indexOf(one);
      return index >= one.steps ? "sample" : `step ${index + 1} of ${one.steps}, t = ${short(one.times[index])}`;
    },
    /** Python is there to compute. */
    live: () => !frame.standalone,
  };
}

/**
 * Bytes of one picture into words of a canvas.
 * @param {Uint8Array} bytes (channels, height, width)
 * @param {number} channels
 * @param {Uint32Array} words
 * @param {number} start
 * @param {number} stride words per row of the canvas
 * @param {number} width
 * @param {number} height
 */
export function paint(bytes, channels, words, start, stride, width, height) {
  const area = width * height;
  const [g, b] = channels >= 3 ? [area, 2 * area] : [0, 0];
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0, to = start + y * stride; x < width; x++, i++, to++)
      words[to] = bytes[i] | (bytes[i + g] << 8) | (bytes[i + b] << 16) | 0xff000000;
  }
}
