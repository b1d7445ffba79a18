// One seed: what each model believed it to become, step by step, and how far that was from what came out.

import { createFilms } from "./films.js";
import { createLaunches } from "./launches.js";
import { createPaths } from "./paths.js";
import { extent } from "../../parts/arrays.js";
import { el, fill, write } from "../../parts/dom.js";
import { createPlot } from "../../parts/plot.js";
import { short } from "../../parts/numbers.js";

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("../scene.js").Scene} scene
 */
export function createInspector(frame, scene) {
  const name = el("span", { class: "dw-name-of" });
  const tag = el("span", { class: "dw-tag" });
  const heading = el("div", { class: "dw-pair", "data-testid": "seed-title" }, name, tag);
  const others = el("div", {
    class: "dw-row dw-others",
    role: "group",
    "aria-label": "The other selected seeds",
    "data-testid": "other-seeds",
  });
  const hint = el("p", { class: "dw-quiet" });
  const empty = el(
    "div",
    { class: "dw-empty", "data-testid": "empty" },
    el("p", {}, el("b", {}, "Hover a seed; click to keep it.")),
    hint,
  );
  const films = createFilms(frame, scene);
  const paths = createPaths(frame, scene);
  const figures = el("div", { class: "dw-now-table dw-table", tabindex: 0, "data-testid": "seed-now" });
  const course = createPlot(frame, "seed-distance", { pick: (x) => scene.go(Math.max(0, Math.round(x) - 1)) });
  const courseTitle = el("span", {});
  const courseBlock = el(
    "section",
    { class: "dw-why" },
    el("div", { class: "dw-heading-small" }, el("span", {}, "From x̂₀ to the sample"), courseTitle),
    course.node,
  );
  const launches = createLaunches(frame, scene);
  const body = el("div", { class: "dw-seed" }, films.node, paths.node, figures, courseBlock);
  frame.inspector.append(heading, others, empty, body, launches.node);
  let listed = "";
  let told = "";

  return {
    /** @param {import("../../parts/theme.js").Theme} theme */
    update(theme) {
      const seed = scene.shown();
      const { kind, plane } = scene.content();
      empty.hidden = seed !== null;
      heading.hidden = body.hidden = seed === null;
      const offer = frame.model.get("offer") ?? {};
      const launchable = scene.live() && offer.launch;
      write(
        hint,
        `What each model believed it to become, step by step, then shows here.${launchable ? (plane.exact ? " A click between the seeds launches all models from there." : " The key N launches all models from fresh noise.") : ""}`,
      );
      launches.update(theme);
      if (seed === null) {
        others.hidden = true;
        return;
      }
      const width = frame.inspector.clientWidth - (frame.root.hasAttribute("data-narrow") ? 0 : 18);
      const label = scene.className(seed);
      const pinned = scene.seeds();
      write(name, `seed ${seed}${label ? `, class ${label}` : ""}`);
      write(
        tag,
        pinned.includes(seed) ? (pinned.length > 1 ? `1 of ${pinned.length} selected` : "selected") : "preview",
      );
      const rest = pinned.filter((one) => one !== seed);
      others.hidden = !rest.length;
      if (rest.join() !== listed) {
        listed = rest.join();
        fill(
          others,
          el("span", { class: "dw-quiet" }, "also selected"),
          ...rest.slice(0, 12).map((one) => {
            const button = el(
              "button",
              { class: "dw-button dw-outlined dw-tiny", title: `Show seed ${one}` },
              String(one),
            );
            button.addEventListener("click", () => scene.pin([one, ...pinned.filter((other) => other !== one)]));
            return button;
          }),
          rest.length > 12 && el("span", { class: "dw-quiet" }, `and ${rest.length - 12} more`),
        );
      }
      films.node.hidden = kind !== "images";
      paths.node.hidden = kind === "images";
      if (kind === "images") films.update(theme, seed, width);
      else paths.update(theme, seed, Math.min(width, 340));
      figures.hidden = !plane.exact;
      if (plane.exact) now(seed);
      distances(theme, seed, width);
    },
  };

  /**
   * Where the seed is now in each run, as numbers.
   * @param {number} seed
   */
  function now(seed) {
    const runs = scene.runs();
    const rows = runs.map((one) => {
      const index = scene.indexOf(one);
      const pair = (/** @type {import("../scene.js").Kind} */ which) =>
        scene
          .place(one, which, index, seed)
          .map((value) => short(value))
          .join(", ");
      return [one.name, pair("states"), pair("targets"), short(scene.apart(one, index)[seed])];
    });
    const columns = ["run", "x_t", "x̂₀", "‖x̂₀ − sample‖"];
    const state = JSON.stringify([columns, rows]);
    if (state === told) return;
    told = state;
    fill(
      figures,
      el(
        "table",
        {},
        el("thead", {}, el("tr", {}, ...columns.map((text) => el("th", { scope: "col" }, text)))),
        el(
          "tbody",
          {},
          ...rows.map((row) =>
            el(
              "tr",
              {},
              ...row.map((text, k) =>
                k ? el("td", { class: "dw-figures-cell" }, text) : el("th", { scope: "row" }, text),
              ),
            ),
          ),
        ),
      ),
    );
  }

  /**
   * How far x̂₀ was from the sample at each step, under the cursor of the timeline.
   * @param {import("../../parts/theme.js").Theme} theme
   * @param {number} seed
   * @param {number} width
   */
  function distances(theme, seed, width) {
    const runs = scene.runs();
    const clock = scene.run();
    const lines = runs.map((one) => ({
      one,
      x: Array.from({ length: one.steps + 1 }, (_, k) => scene.placeOf(one, k) + 1),
      y: Array.from({ length: one.steps + 1 }, (_, k) => (k < one.steps ? scene.apart(one, k)[seed] : 0)),
    }));
    const [, most] = extent(lines.flatMap(({ y }) => y));
    const halves = lines.map(({ one, y }) => ({ one, step: y.findIndex((value) => value <= y[0] / 2) + 1 }));
    write(
      courseTitle,
      runs.map((one) => `${one.name} ${short(scene.apart(one, scene.indexOf(one))[seed])}`).join(", "),
    );
    course.update(
      theme,
      {
        label: `Distance of x̂₀ of seed ${seed} to its sample by step; halved ${halves.map(({ one, step }) => `for ${one.name} by step ${step || one.steps}`).join(", ")}`,
        x: { low: 1, high: clock.steps + 1, title: `step of ${clock.name}`, whole: true },
        y: { low: 0, high: 1.08 * most || 1, title: "distance" },
        layers: lines.flatMap(({ one, x, y }) => {
          const colour = scene.colour(one, theme.dark);
          return /** @type {import("../../parts/plot_layers.js").Layer[]} */ ([
            { kind: "line", x, y, colour, width: 1.75, name: one.name, dash: scene.dash(one) },
            ...(one.steps <= 12 ? [{ kind: "points", x, y, colour, width: 6, hollow: scene.hollow(one) }] : []),
          ]);
        }),
        cursor: scene.position() + 1,
      },
      width,
      140,
    );
  }
}
