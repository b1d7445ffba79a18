// One seed as pictures: one of them large, with its pixels under the cursor, and a film of what each run believed.

import { el, fill, sharp, write } from "../../parts/dom.js";
import { createPixels } from "../../parts/pixels.js";

const MOST = 9; // frames of a film
const LARGE = 270;

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("../scene.js").Scene} scene
 */
export function createFilms(frame, scene) {
  const canvas = el("canvas", {
    class: "dw-large",
    tabindex: 0,
    role: "application",
    "aria-roledescription": "image",
    "data-testid": "large",
  });
  const said = el("span", { class: "dw-quiet dw-of-run", "data-testid": "large-title" });
  const kinds = el("div", { class: "dw-segments", role: "group", "aria-label": "What is shown large" });
  /** @type {import("../scene.js").Kind} */
  let kind = "targets";
  const buttons = /** @type {const} */ ([
    ["targets", "x̂₀ believed", "What the model believes the final image to be"],
    ["states", "x_t noisy", "The state it sees, scaled to the contrast of an image"],
  ]).map(([value, label, help]) => {
    const one = el("button", { class: "dw-segment", title: help, "data-testid": `large-${value}` }, label);
    frame.listen(one, "click", () => {
      kind = value;
      frame.invalidate();
    });
    return { value, one };
  });
  kinds.append(...buttons.map(({ one }) => one));
  const films = el("div", { class: "dw-films", "data-testid": "films" });
  const missing = el("p", { class: "dw-quiet" });
  const node = el(
    "div",
    { class: "dw-seed-pictures" },
    el("div", { class: "dw-row" }, kinds, said),
    canvas,
    missing,
    films,
  );
  /** @type {{ picture: HTMLCanvasElement, pixel: number } | null} */
  let shown = null;
  let strips =
    /** @type {{ name: string, title: HTMLElement, cells: HTMLCanvasElement[], buttons: HTMLElement[], row: HTMLElement }[]} */ ([]);

  /** @param {number} x @param {number} y */
  function values(x, y) {
    if (!shown) return [];
    const [r, g, b] = /** @type {CanvasRenderingContext2D} */ (shown.picture.getContext("2d")).getImageData(
      x,
      y,
      1,
      1,
    ).data;
    const grey = scene.content().shape[0] === 1;
    return /** @type {[string, string][]} */ (
      grey
        ? [["value", (r / 255).toFixed(2)]]
        : [
            ["red", (r / 255).toFixed(2)],
            ["green", (g / 255).toFixed(2)],
            ["blue", (b / 255).toFixed(2)],
          ]
    );
  }
  createPixels(
    frame,
    canvas,
    () => shown && { width: shown.picture.width, height: shown.picture.height, pixel: shown.pixel },
    values,
  );

  return {
    node,
    /**
     * @param {import("../../parts/theme.js").Theme} theme
     * @param {number} seed
     * @param {number} width
     */
    update(theme, seed, width) {
      const aimed = scene.aimed();
      const one = aimed?.run ?? scene.run();
      const index = aimed ? aimed.index : scene.indexOf(one);
      const picture = scene.picture(one, kind, index, seed);
      canvas.hidden = films.hidden = picture === null;
      missing.hidden = picture !== null;
      write(missing, `Pictures are here of the first ${scene.content().pictured.toLocaleString("en")} seeds only.`);
      for (const { value, one: button } of buttons) button.setAttribute("aria-pressed", String(value === kind));
      if (!picture) return;
      const room = Math.min(LARGE, width);
      const pixel = Math.max(1, Math.floor(room / Math.max(picture.width, picture.height)));
      shown = { picture, pixel };
      const context = sharp(canvas, picture.width * pixel, picture.height * pixel);
      context.imageSmoothingEnabled = false;
      context.drawImage(picture, 0, 0, picture.width * pixel, picture.height * pixel);
      const when = index >= one.steps ? "its sample" : `step ${index + 1} of ${one.steps}`;
      write(said, `${one.name}, ${when}`);
      said.style.setProperty("--dw-run", scene.colour(one, theme.dark));
      canvas.setAttribute(
        "aria-label",
        `Seed ${seed} of ${one.name}, ${when}: ${kind === "targets" ? "what it believes the image to be" : "the noisy state"}. Arrow keys read its pixels.`,
      );
      film(theme, seed, width);
    },
  };

  /**
   * @param {import("../../parts/theme.js").Theme} theme
   * @param {number} seed
   * @param {number} width
   */
  function film(theme, seed, width) {
    const runs = scene.runs();
    const names = JSON.stringify(runs.map(({ name, steps }) => [name, steps]));
    if (films.dataset.built !== names) {
      films.dataset.built = names;
      strips = runs.map((one) => {
        const title = el("span", { class: "dw-fine dw-of-run" }, one.name);
        const cells = frames(one).map((index) => ({ index, cell: el("canvas", { "aria-hidden": "true" }) }));
        const made = cells.map(({ index, cell }) => {
          const what = index >= one.steps ? "sample" : `step ${index + 1}`;
          const button = el(
            "button",
            {
              class: "dw-button dw-small dw-frame",
              "data-index": index,
              title: `${one.name}, ${what}: show it large`,
              "aria-label": `${one.name}, ${what}`,
            },
            cell,
          );
          button.addEventListener("click", () =>
            frame.guard(() => frame.select({ run: one.name, step: index >= one.steps ? "sample" : index + 1 })),
          );
          return button;
        });
        return {
          name: one.name,
          title,
          cells: cells.map(({ cell }) => cell),
          buttons: made,
          row: el("div", { class: "dw-film" }, ...made),
        };
      });
      fill(films, ...strips.map(({ title, row }) => el("div", {}, title, row)));
    }
    const widest = Math.max(5, ...runs.map((one) => frames(one).length)); // frames of all films are alike
    strips.forEach((strip, k) => {
      const one = runs[k];
      const here = scene.indexOf(one);
      const kept = frames(one);
      const size = Math.floor(width / widest) - 6; // and what is around it
      strip.title.style.setProperty("--dw-run", scene.colour(one, theme.dark));
      const nearest = kept.reduce(
        (best, index) => (Math.abs(index - here) < Math.abs(best - here) ? index : best),
        kept[0],
      );
      strip.cells.forEach((cell, i) => {
        const source = scene.picture(one, kind, kept[i], seed);
        if (!source) return;
        const scale = size / Math.max(source.width, source.height);
        const context = sharp(cell, Math.round(source.width * scale), Math.round(source.height * scale));
        context.imageSmoothingEnabled = false;
        context.drawImage(source, 0, 0, Math.round(source.width * scale), Math.round(source.height * scale));
        strip.buttons[i].toggleAttribute("data-here", kept[i] === nearest);
      });
    });
  }
}

/**
 * Indices of a film: the first, the sample, and evenly between.
 * @param {import("../content.js").Run} one
 */
function frames(one) {
  if (one.steps < MOST) return [...Array(one.steps + 1).keys()];
  return Array.from({ length: MOST }, (_, k) => Math.round((k * one.steps) / (MOST - 1)));
}
