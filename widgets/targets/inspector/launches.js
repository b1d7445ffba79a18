// Launches: where each went, by each model, how far apart they ended, and a way to take them off the plane again.

import { at, tensor } from "../../parts/arrays.js";
import { el, fill, number, write } from "../../parts/dom.js";
import { short } from "../../parts/numbers.js";
import { paint } from "../scene.js";

/** One flight; mirrors `launches_content` in launches.py.
 * @typedef {{ run: string, states: string, targets: string, pictures: string | null, apart: number }} Flight */

/** @typedef {{ noise: [number, number] | null, seed: number | null, class: string | null, runs: Flight[] }} Launched */

const SIZE = 44; // px of a picture

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("../scene.js").Scene} scene
 */
export function createLaunches(frame, scene) {
  const { model } = frame;
  const title = el("span", {});
  const clear = el(
    "button",
    { class: "dw-button dw-outlined dw-tiny", "data-testid": "launch-clear", title: "Take all launches off the plane" },
    "remove all",
  );
  const fresh = el(
    "button",
    {
      class: "dw-button dw-outlined dw-tiny",
      "data-testid": "launch-fresh",
      title: "Launch all models from fresh noise (N)",
    },
    "from fresh noise",
  );
  const kinds = el("select", { "data-testid": "launch-class", "aria-label": "class of a launch" });
  const kindsRow = el("label", { class: "dw-setting dw-fine" }, el("span", { class: "dw-quiet" }, "as"), kinds);
  const list = el("ul", { class: "dw-launches" });
  const node = el(
    "section",
    { class: "dw-why", "data-testid": "launches" },
    el("div", { class: "dw-heading-small" }, el("span", {}, "Launched"), title),
    list,
    el("div", { class: "dw-row dw-tools-row" }, fresh, kindsRow, clear),
  );
  frame.listen(clear, "click", () => frame.requests.ask("launch", { remove: "all" }));
  frame.listen(fresh, "click", () => frame.requests.ask("launch", { noise: null }));
  frame.listen(kinds, "change", () => frame.save({ launch_class: kinds.value }));
  let listed = "";
  let offered = "";
  frame.watch(["launch_class"], () => frame.invalidate());

  return {
    node,
    /** @param {import("../../parts/theme.js").Theme} theme */
    update(theme) {
      const launches = /** @type {Launched[]} */ (model.get("launches")?.launches ?? []);
      const offer = /** @type {import("../controls/controls.js").Offer} */ (model.get("offer") ?? {});
      const can = scene.live() && Boolean(offer.launch);
      node.hidden = !launches.length && !can;
      const classes = offer.launch_classes ?? [];
      kindsRow.hidden = !can || !classes.length;
      if (classes.join() !== offered) {
        offered = classes.join();
        fill(
          kinds,
          el("option", { value: "" }, "any class"),
          ...classes.map((name) => el("option", { value: name }, name)),
        );
      }
      kinds.value = model.get("launch_class");
      clear.hidden = !can || launches.length < 2;
      fresh.hidden = !can;
      write(title, launches.length ? "" : scene.content().plane.exact ? "click between the seeds" : "none yet");
      const state = JSON.stringify([launches, theme.dark, can, scene.runs().map(({ name }) => name)]);
      if (state === listed) return;
      listed = state;
      fill(list, ...launches.map((launch, k) => entry(launch, k, theme, can)));
    },
  };

  /**
   * @param {Launched} launch
   * @param {number} k
   * @param {import("../../parts/theme.js").Theme} theme
   * @param {boolean} can
   */
  function entry(launch, k, theme, can) {
    const from = launch.noise
      ? `noise ${launch.noise.map((value) => short(value)).join(", ")}`
      : `fresh noise ${launch.seed}`;
    const ends = launch.runs.map((flight) => {
      const run = scene.runs().find(({ name }) => name === flight.run);
      const mark = el("i", { class: "dw-dot", "aria-hidden": "true" });
      if (run) mark.style.borderColor = mark.style.backgroundColor = scene.colour(run, theme.dark);
      const path = /** @type {import("../../parts/arrays.js").Tensor} */ (
        tensor(model, flight.targets, "launches_arrays")
      );
      const [x, y] = path.data.slice(-2);
      return el(
        "span",
        { class: "dw-end" },
        picture(flight),
        mark,
        `${flight.run}${scene.content().plane.exact ? ` ${number(x, 2)}, ${number(y, 2)}` : ""}`,
        flight.apart > 0 && el("span", { class: "dw-quiet" }, `${number(flight.apart, 2)} from ${launch.runs[0].run}`),
      );
    });
    const off =
      can &&
      el(
        "button",
        { class: "dw-button dw-tiny", title: "Take it off the plane", "aria-label": `Remove the launch from ${from}` },
        "×",
      );
    if (off) off.addEventListener("click", () => frame.requests.ask("launch", { remove: k }));
    return el(
      "li",
      {},
      el(
        "div",
        { class: "dw-launch-head" },
        el("span", {}, from, launch.class && el("span", { class: "dw-quiet" }, ` as ${launch.class}`)),
        off,
      ),
      el("div", { class: "dw-ends" }, ...ends),
    );
  }

  /** What came out, where it is a picture. @param {Flight} flight */
  function picture(flight) {
    const source = tensor(model, flight.pictures, "launches_arrays");
    if (!source) return false;
    const [steps, channels, height, width] = source.shape;
    const canvas = el("canvas", { class: "dw-thumbnail", width, height });
    const image = new ImageData(width, height);
    paint(
      /** @type {Uint8Array} */ (at(source, steps - 1).data),
      channels,
      new Uint32Array(image.data.buffer),
      0,
      width,
      width,
      height,
    );
    canvas.getContext("2d")?.putImageData(image, 0, 0);
    const scale = SIZE / Math.max(width, height);
    canvas.style.width = `${Math.round(width * scale)}px`;
    canvas.style.height = `${Math.round(height * scale)}px`;
    return canvas;
  }
}
