// Where a network looks: which attribution is shown over an image, asking Python for one, its colours and its limits.

import { at, tensor } from "../../parts/arrays.js";
import { table } from "../../parts/colours.js";
import { el, fill, number, write } from "../../parts/dom.js";
import { createLegend } from "../../parts/legend.js";
import { createSlider } from "../../parts/slider.js";

/** One attribution of several images; mirrors `attributions_content` in looks.py.
 * @typedef {object} Known
 * @property {string} set
 * @property {number | null} iteration of the images; null: the final ones
 * @property {string} network
 * @property {"label" | "predicted" | number | null} asked how the target class was asked for; null: class by class
 * @property {string} made of an evaluator, how it was trained; another one is another network
 * @property {string} method
 * @property {string} baseline
 * @property {boolean} signed
 * @property {number[]} rows
 * @property {number[]} targets
 * @property {number[] | null} delta
 * @property {string} heat
 */

/** What can be attributed; mirrors `offer` in actions.py.
 * @typedef {{ methods: { value: string, label: string, baseline: boolean, signed: boolean }[], baselines: { value:
 *   string, label: string }[], networks: string[], can: boolean }} Offer */

/** @typedef {{ method: string, target: "label" | "predicted" | number, baseline: string, network: string }} Choice */

/** What lies over one image.
 * @typedef {object} Heat
 * @property {ArrayLike<number>} values row by row
 * @property {number} limit largest magnitude
 * @property {boolean} signed
 * @property {number} target
 * @property {number | null} delta
 * @property {number} sum
 * @property {string} made
 */

const MOST = 64; // images asked for at once

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("./inspector.js").Lens} lens
 */
export function createAttribution(frame, lens) {
  const { model } = frame;
  const content = () => /** @type {Offer} */ (model.get("offer").attribution);
  const known = () => /** @type {Known[]} */ (model.get("attributions")?.known ?? []);
  const moment = (/** @type {Known} */ one) => one.iteration ?? lens.last();
  /** How the evaluator is trained under the present settings; lens.py has the other copy. */
  const made = () => `${model.get("training").networks[0]}, ${model.get("training").epochs} epochs`;
  const current = (/** @type {Known} */ one) =>
    one.set === lens.set() && moment(one) === lens.iteration() && (!one.made || one.made === made());
  const choice = () => /** @type {Choice} */ (model.get("attribution"));
  const choose = (/** @type {Record<string, any>} */ change) => frame.save({ attribution: { ...choice(), ...change } });
  let busy = false;

  /** @param {string} name @param {string} label @param {(value: string) => void} pick */
  function select(name, label, pick) {
    const node = el("select", { "data-testid": `attribution-${name}`, "aria-label": label });
    frame.listen(node, "change", () => pick(node.value));
    let shown = "";
    return {
      row: el("label", { class: "dw-setting dw-pick" }, el("span", {}, label), node),
      /** @param {{ value: string, label: string }[]} options @param {string} value */
      update(options, value) {
        const now = JSON.stringify(options);
        if (now !== shown) {
          shown = now;
          fill(node, ...options.map((option) => el("option", { value: option.value }, option.label)));
        }
        if (node.value !== value) node.value = value;
      },
    };
  }
  const method = select("method", "method", (value) => choose({ method: value }));
  const target = select("target", "for class", (value) =>
    choose({ target: /^\d+$/.test(value) ? Number(value) : value }),
  );
  const baseline = select("baseline", "against", (value) => choose({ baseline: value }));
  const network = select("network", "of", (value) => choose({ network: value }));
  const ask = el("button", {
    class: "dw-button dw-outlined",
    "data-testid": "attribute",
    title: "Computed in Python by captum",
  });
  frame.listen(ask, "click", () => request());
  const opacity = createSlider(frame, {
    name: "opacity",
    label: "opacity",
    help: "How strongly the attribution covers the image",
    move: (value) => frame.save({ opacity: value }),
  });
  const legend = createLegend();
  const note = el("p", { class: "dw-quiet", "data-testid": "attribution-note" });
  const others = el("div", { class: "dw-row dw-offers" });
  const shade = el("div", { class: "dw-shade" }, opacity.node, legend.node);
  const node = el(
    "section",
    { class: "dw-why", "data-testid": "attribution" },
    el("div", { class: "dw-heading-small" }, el("span", {}, "Where a network looks"), ask),
    el("div", { class: "dw-picks" }, method.row, target.row, baseline.row, network.row),
    note,
    others,
    shade,
  );

  const methodOf = (/** @type {string} */ value) =>
    content().methods.find((one) => one.value === value) ?? content().methods[0];
  const needs = () => (methodOf(choice().method).baseline ? choice().baseline : "");

  /** The attribution of an image under some choice; null where it was not computed.
   * @param {number} row @param {Choice} wanted @returns {Heat | null} */
  function find(row, wanted) {
    const against = methodOf(wanted.method).baseline ? wanted.baseline : "";
    const exact = wanted.target === "label" ? lens.labelOf(row) : wanted.target;
    for (const one of [...known()].reverse()) {
      if (!current(one) || one.method !== wanted.method || one.network !== wanted.network || one.baseline !== against)
        continue;
      const i = one.rows.indexOf(row);
      if (i < 0 || (one.asked !== wanted.target && one.targets[i] !== exact)) continue;
      return heatOf(one, i);
    }
    return null;
  }

  /** @param {Known} one @param {number} i @returns {Heat} */
  function heatOf(one, i) {
    const { data } = at(
      /** @type {import("../../parts/arrays.js").Tensor} */ (tensor(model, one.heat, "attributions_arrays")),
      i,
    );
    let limit = 0;
    let sum = 0;
    for (const value of data) {
      limit = Math.max(limit, Math.abs(value));
      sum += value;
    }
    return {
      values: data,
      limit,
      signed: one.signed,
      target: one.targets[i],
      delta: one.delta?.[i] ?? null,
      sum,
      made: one.made,
    };
  }

  /** Pinned images, or the one under the cursor, without such an attribution. */
  const wanted = () =>
    /** @type {number[]} */ (lens.pinned().length ? lens.pinned() : [lens.shown()].filter((row) => row !== null))
      .filter((row) => !find(row, choice()))
      .slice(0, MOST);

  function request() {
    const rows = wanted();
    if (!rows.length || busy) return;
    busy = true;
    const done = () => {
      busy = false;
      frame.invalidate();
    };
    frame.requests.ask(
      "attribution",
      { set: lens.set(), iteration: lens.iteration(), rows, ...choice(), baseline: needs() },
      done,
      { failed: done },
    );
    frame.invalidate();
  }

  /** Computed ones of this image that another choice would show.
   * @param {number} row */
  function offers(row) {
    return known()
      .filter((one) => current(one) && one.rows.includes(row))
      .slice(-6)
      .map((one) => {
        const target = one.targets[one.rows.indexOf(row)];
        const button = el(
          "button",
          { class: "dw-button dw-outlined", "data-testid": "offer" },
          `${methodOf(one.method).label} for ${lens.classes()[target]}`,
        );
        button.addEventListener("click", () =>
          choose({
            method: one.method,
            network: one.network,
            ...(one.baseline ? { baseline: one.baseline } : {}),
            target: one.asked ?? target,
          }),
        );
        return button;
      });
  }

  return {
    node,
    /** @param {number} row */
    heat: (row) => (content().networks.length ? find(row, choice()) : null),
    /**
     * @param {import("../../parts/theme.js").Theme} theme
     * @param {number} row
     * @param {number | null} mark value under the cursor
     */
    update(theme, row, mark) {
      const { methods, baselines, networks, can } = content();
      node.hidden = !networks.length;
      if (!networks.length) return;
      const now = choice();
      method.update(methods, now.method);
      target.update(
        [
          { value: "label", label: "its label" },
          { value: "predicted", label: "the most probable" },
          ...lens.classes().map((label, k) => ({ value: String(k), label })),
        ],
        String(now.target),
      );
      baseline.update(baselines, now.baseline);
      baseline.row.hidden = !methodOf(now.method).baseline;
      network.update(
        networks.map((value) => ({ value, label: value })),
        now.network,
      );
      network.row.hidden = networks.length < 2;
      const found = find(row, now);
      const missing = wanted().length;
      ask.hidden = frame.standalone || !can || !(busy || missing);
      ask.disabled = busy;
      write(ask, busy ? "attributing …" : missing === 1 ? "attribute" : `attribute ${missing} images`);
      shade.hidden = !found;
      const elsewhere = found ? [] : offers(row);
      fill(others, ...elsewhere);
      others.hidden = !elsewhere.length;
      note.hidden = false;
      if (!found) {
        const other = known().find((one) => one.set === lens.set() && one.rows.includes(row));
        const hint = frame.standalone || !can ? "Not computed for this image." : "Not computed yet for this image.";
        write(
          note,
          elsewhere.length
            ? `${hint} Computed:`
            : !other
              ? hint
              : moment(other) !== lens.iteration()
                ? `${hint} It was at iteration ${moment(other)}; shown is ${lens.iteration()}.`
                : `${hint} It was of an evaluator trained otherwise (${other.made}).`,
        );
        return;
      }
      const label = lens.classes()[found.target];
      const total = found.signed
        ? `sum ${number(found.sum, 3)} logit`
        : `largest ${number(found.limit, 3)} logit per unit`;
      write(
        note,
        `${methodOf(now.method).label} of ${now.network}${found.made ? ` (${found.made})` : ""} for ${label}: ${total}${found.delta === null ? "" : `, convergence delta ${signed(found.delta)} logit`}`,
      );
      opacity.update({
        low: 0,
        high: 1,
        value: model.get("opacity"),
        normal: null,
        text: `${Math.round(100 * model.get("opacity"))} %`,
      });
      legend.update(theme, {
        label: `${found.signed ? "logit per pixel: blue against, red for" : "magnitude, logit per unit of a normalised pixel"}${lens.shape()[0] > 1 ? ", channels summed" : ""}`,
        map: mapOf(theme, found),
        low: found.signed ? -found.limit : 0,
        high: found.limit,
        mark,
        clipped: false,
      });
    },
  };
}

/** @param {number} value */
const signed = (value) => (value > 0 ? "+" : "") + number(value, Math.abs(value) < 0.0995 ? 4 : 3);

/**
 * @param {import("../../parts/theme.js").Theme} theme
 * @param {Heat} heat
 * @returns {import("../../parts/colours.js").MapName}
 */
export function mapOf(theme, heat) {
  if (!heat.signed) return "viridis";
  return theme.dark ? "diverging-dark" : "diverging";
}

/**
 * The heat as a picture of one pixel per value, to be laid over an image.
 * @param {import("../../parts/theme.js").Theme} theme
 * @param {Heat} heat
 * @param {number} width
 * @param {number} height
 */
export function heatPicture(theme, heat, width, height) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const image = context.createImageData(width, height);
  const rgb = table(mapOf(theme, heat));
  const limit = heat.limit || 1;
  for (let i = 0; i < width * height; i++) {
    const share = heat.signed ? 0.5 + heat.values[i] / (2 * limit) : heat.values[i] / limit;
    const k = 3 * Math.max(0, Math.min(255, Math.round(255 * share)));
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = rgb[k + c];
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return canvas;
}
