// The timeline: play, step and scrub through what a record has an order in, with one or two curves under the cursor.

import { extent } from "./arrays.js";
import { el, fill, number, sharp, write } from "./dom.js";
import { icon } from "./icons.js";
import { playOnce } from "./opening.js";

/** One value per position, or values `at` places between them; of its own `range` where its unit is not that of others.
 * @typedef {object} Curve
 * @property {string} name
 * @property {ArrayLike<number>} values
 * @property {string} colour
 * @property {number[]} [dash]
 * @property {ArrayLike<number>} [at] ascending places, 0 for the first position, 1 for the second
 * @property {[number, number]} [range]
 * @property {(value: number) => string} [text] how its values are written
 */

/** What a timeline shows and moves.
 * @typedef {object} Course
 * @property {string} unit "epoch", "iteration", "step"
 * @property {() => (number | string)[]} positions what each position is called
 * @property {() => number} get index of the current position
 * @property {(index: number) => void} set
 * @property {(theme: import("./theme.js").Theme) => Curve[]} curves
 * @property {() => string} [label] what the curves are, where their names do not say it
 * @property {[number, number]} [range] of the curves; measured when left out
 */

const THUMB = 14; // px; the slider's thumb, whose middle the cursor line follows
const HEIGHT = 54; // px, where type is of its usual size

/**
 * Fill the frame's timeline.
 * @param {import("./frame.js").Frame} frame
 * @param {Course} course
 */
export function createTimeline(frame, course) {
  const slider = el("input", { type: "range", min: 0, step: 1, "data-testid": "slider", "aria-label": course.unit });
  const canvas = el("canvas", { class: "dw-course", "aria-hidden": "true" });
  const position = el("output", { class: "dw-readout", "data-testid": "position" });
  const legend = el("div", { class: "dw-legend", "data-testid": "timeline-legend" });
  const play = button("play", "Play or pause (Space)", "play", () => toggle());
  const buttons = el(
    "div",
    { class: "dw-transport" },
    button("first", "First (Home)", "first", () => go(0)),
    play,
    button("last", "Last (End)", "last", () => go(Infinity)),
  );
  const track = el("div", { class: "dw-track" }, canvas, slider);
  frame.timeline.append(buttons, track, el("div", { class: "dw-beside" }, position, legend));

  let playing = 0;
  let shownLegend = "";

  /** @param {number} index */
  function go(index) {
    const last = course.positions().length - 1;
    const next = Math.max(0, Math.min(last, index));
    if (next !== course.get()) course.set(next);
  }

  function pause() {
    clearInterval(playing);
    playing = 0;
    fill(play, icon("play"));
    play.setAttribute("aria-pressed", "false");
  }

  function toggle() {
    if (playing) return pause();
    const count = course.positions().length;
    if (course.get() >= count - 1) go(0);
    // a whole course in about eight seconds, no step under 60 ms
    const pace = Math.max(60, Math.min(450, 8000 / count));
    playing = /** @type {any} */ (
      setInterval(() => {
        if (course.get() >= course.positions().length - 1) pause();
        else frame.guard(() => go(course.get() + 1));
      }, pace)
    );
    fill(play, icon("pause"));
    play.setAttribute("aria-pressed", "true");
  }

  frame.onDispose(() => clearInterval(playing));
  frame.listen(slider, "input", () => go(Number(slider.value)));
  // A click or drag on the curve is meant for the slider beneath it.
  /** @param {PointerEvent} event */
  const scrub = (event) => {
    if (event.type === "pointermove" && !(event.buttons & 1)) return;
    if (event.type === "pointerdown") canvas.setPointerCapture(event.pointerId);
    const { left, width } = canvas.getBoundingClientRect();
    const share = (event.clientX - left - THUMB / 2) / (width - THUMB);
    go(Math.round(share * (course.positions().length - 1)));
    slider.focus({ preventScroll: true });
  };
  frame.listen(canvas, "pointerdown", scrub);
  frame.listen(canvas, "pointermove", scrub);
  frame.keys.add(" ", `play or pause through the ${course.unit}s`, toggle, "Space");
  frame.keys.add(
    ["ArrowLeft", ","],
    `one ${course.unit} back (“,” also inside a matrix)`,
    () => go(course.get() - 1),
    "← / ,",
  );
  frame.keys.add(
    ["ArrowRight", "."],
    `one ${course.unit} on (“.” also inside a matrix)`,
    () => go(course.get() + 1),
    "→ / .",
  );
  frame.keys.add("Home", `first ${course.unit}`, () => go(0));
  frame.keys.add("End", `last ${course.unit}`, () => go(Infinity));

  let first = true;
  frame.onDraw((theme) => {
    if (first) playOnce(frame, course);
    first = false;
    const positions = course.positions();
    frame.timeline.hidden = positions.length < 2;
    if (frame.timeline.hidden) return;
    const width = track.clientWidth; // read before anything is written: the page is laid out once, not twice
    const now = course.get();
    slider.max = String(positions.length - 1);
    if (slider.value !== String(now)) slider.value = String(now);
    const name = `${course.unit} ${positions[now]}`;
    slider.setAttribute("aria-valuetext", `${name}, last is ${positions[positions.length - 1]}`);
    fill(
      position,
      course.unit,
      " ",
      el("b", {}, positions[now]),
      ` / ${positions[positions.length - 1]}`,
      course.label && el("span", { class: "dw-quiet" }, ` · ${course.label().toLowerCase()}`),
    );
    if (width) draw(theme, positions, now, course.curves(theme), width);
  });

  /**
   * @param {import("./theme.js").Theme} theme
   * @param {(number | string)[]} positions
   * @param {number} now
   * @param {Curve[]} curves
   * @param {number} width
   */
  function draw(theme, positions, now, curves, width) {
    const height = Math.round(HEIGHT * theme.scale);
    const context = sharp(canvas, width, height);
    const foot = 16 * theme.scale;
    const [low, high] = course.range ?? span(curves);
    const x = (/** @type {number} */ i) => THUMB / 2 + (i / (positions.length - 1)) * (width - THUMB);
    const y = (/** @type {Curve} */ curve, /** @type {number} */ value) => {
      const [from, to] = curve.range ?? [low, high];
      return height - foot - ((value - from) / (to - from || 1)) * (height - foot - 8);
    };
    context.font = theme.type(10);
    context.fillStyle = theme.quiet;
    context.textAlign = "center";
    // Names of the last position may be longer than numbers.
    const apart = Math.max(26 * theme.scale, context.measureText(String(positions[positions.length - 1])).width + 12);
    const every = Math.ceil(positions.length / Math.max(2, Math.floor(width / (44 * theme.scale))));
    context.strokeStyle = theme.line;
    context.lineWidth = 1;
    context.beginPath();
    positions.forEach((position, i) => {
      const last = i === positions.length - 1;
      if (last || (i % every === 0 && (positions.length - 1 - i) * (width / positions.length) > apart)) {
        const half = context.measureText(String(position)).width / 2;
        context.fillText(String(position), Math.max(half, Math.min(width - half, x(i))), height - 2);
        context.moveTo(x(i), 6);
        context.lineTo(x(i), height - foot + 2);
      }
    });
    context.stroke();
    context.lineJoin = "round";
    for (const curve of curves) {
      context.strokeStyle = curve.colour;
      context.lineWidth = 1.75 * theme.scale;
      context.setLineDash(curve.dash ?? []);
      context.beginPath();
      let pen = false;
      for (let i = 0; i < curve.values.length; i++) {
        const value = curve.values[i];
        if (Number.isNaN(value)) pen = false;
        else if (pen) context.lineTo(x(curve.at?.[i] ?? i), y(curve, value));
        else {
          context.moveTo(x(curve.at?.[i] ?? i), y(curve, value));
          pen = true;
        }
      }
      context.stroke();
    }
    context.setLineDash([]);
    context.strokeStyle = theme.ink;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(Math.round(x(now)) + 0.5, 2);
    context.lineTo(Math.round(x(now)) + 0.5, height - foot + 3);
    context.stroke();
    for (const curve of curves) {
      const value = valueAt(curve, now);
      if (value === undefined || Number.isNaN(value)) continue;
      context.fillStyle = curve.colour;
      context.strokeStyle = theme.paper;
      context.lineWidth = 1.5;
      context.beginPath();
      context.arc(x(now), y(curve, value), 4 * theme.scale, 0, 2 * Math.PI);
      context.fill();
      context.stroke();
    }
    const shape = JSON.stringify(curves.map(({ name, colour, dash }) => [name, colour, dash]));
    if (shape !== shownLegend) {
      shownLegend = shape;
      fill(
        legend,
        ...curves.map((curve) =>
          el(
            "div",
            { class: "dw-legend-row" },
            swatch(curve),
            el("span", { class: "dw-legend-name", title: curve.name }, curve.name),
            el("b", { class: "dw-number" }),
          ),
        ),
      );
    }
    curves.forEach((curve, i) => {
      const cell = legend.children[i]?.querySelector("b");
      if (cell) write(cell, readout(curve, valueAt(curve, now)));
    });
  }

  /**
   * @param {string} label
   * @param {string} help
   * @param {import("./icons.js").IconName} image
   * @param {() => void} run
   */
  function button(label, help, image, run) {
    const node = el(
      "button",
      { class: "dw-button", title: help, "aria-label": help, "data-testid": label },
      icon(image),
    );
    frame.listen(node, "click", run);
    return node;
  }
  return { go, pause };
}

/** @param {{ colour: string, dash?: number[] }} line */
export function swatch({ colour, dash }) {
  const node = el("i", { class: "dw-swatch", "aria-hidden": "true" });
  node.style.borderTopColor = colour;
  node.style.borderTopStyle = lineStyle(dash);
  return node;
}

/** How a border is drawn like a line. @param {number[]} [dash] */
export function lineStyle(dash) {
  return !dash?.length ? "solid" : dash[0] <= 2 ? "dotted" : "dashed";
}

/**
 * A curve's value at a position: of values between positions the last one before it.
 * @param {Curve} curve
 * @param {number} now
 */
function valueAt({ values, at }, now) {
  if (!at) return values[now];
  let last = -1;
  for (let i = 0; i < at.length && at[i] <= now + 1e-6; i++) last = i;
  return last < 0 ? NaN : values[last];
}

/**
 * @param {Curve} curve
 * @param {number | undefined} value
 */
function readout(curve, value) {
  return curve.text && value !== undefined && !Number.isNaN(value) ? curve.text(value) : number(value, 3);
}

/** @param {Curve[]} curves */
function span(curves) {
  const [low, high] = extent(curves.filter((curve) => !curve.range).flatMap((curve) => extent(curve.values)));
  return Number.isNaN(low) ? [0, 1] : [low, high];
}
