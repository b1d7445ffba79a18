// The strip: rows are models, columns are steps, each cell what the model believes the final image to be.

import { about, createNow, pixel } from "./now.js";
import { cellAt, createRows } from "./rows.js";
import { createSheets } from "./sheets.js";
import { el, elide, sharp } from "../../parts/dom.js";

const MOST = 24; // seeds in the row of what is believed now

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("../scene.js").Scene} scene
 */
export function createStrip(frame, scene) {
  const { model } = scene;
  const sheets = createSheets(scene);
  const now = createNow(frame, scene, sheets);
  const base = el("canvas", { "aria-hidden": "true" });
  const over = el("canvas", {
    class: "dw-over",
    tabindex: 0,
    role: "application",
    "aria-roledescription": "strip of targets",
    "data-testid": "strip",
  });
  const scroll = el(
    "div",
    { class: "dw-strip-scroll", tabindex: 0, role: "group", "aria-label": "Strip" },
    el("div", { class: "dw-strip-rows" }, base, over),
  );
  const node = el("div", { class: "dw-strips" }, now.node, scroll);
  /** @type {import("./rows.js").Layout | null} */
  let layout = null;
  let drawn = "";
  let scrubbing = false;

  /** @param {import("./rows.js").Row} row @param {number} index */
  const placeOf = (row, index) => Math.round(scene.placeOf(row.run, index));

  frame.listen(over, "pointerdown", (/** @type {PointerEvent} */ event) => {
    if (!layout || event.button !== 0) return;
    const { x, y } = pixel(over, event);
    const cell = cellAt(layout, x, y);
    if (!cell) return;
    if (cell.row.seed >= 0 && !event.shiftKey) scene.pin([cell.row.seed]);
    else if (cell.row.seed >= 0) scene.toggle(cell.row.seed, true);
    if (cell.index === null) return;
    scrubbing = true;
    over.setPointerCapture(event.pointerId);
    scene.go(placeOf(cell.row, cell.index));
  });
  frame.listen(over, "pointermove", (/** @type {PointerEvent} */ event) => {
    if (!layout) return;
    const { x, y } = pixel(over, event);
    if (scrubbing) {
      const place = Math.round(((x - layout.left - layout.size / 2) / (layout.at(1) - layout.at(0) || 1)) * 1);
      scene.go(Math.max(0, Math.min(scene.run().steps, place)));
      return;
    }
    const cell = cellAt(layout, x, y);
    over.style.cursor = cell ? "pointer" : "default";
    scene.hover(cell && cell.row.seed >= 0 ? cell.row.seed : null);
    scene.aim(
      cell && cell.index !== null && cell.row.seed >= 0
        ? { run: cell.row.run, index: cell.index, seed: cell.row.seed }
        : null,
    );
    if (cell && cell.index !== null)
      frame.tooltip.show(event.clientX, event.clientY, ...about(scene, cell.row.run, cell.index, cell.row.seed));
    else frame.tooltip.hide();
  });
  const drop = () => (scrubbing = false);
  frame.listen(over, "pointerup", drop);
  frame.listen(over, "pointercancel", drop);
  for (const canvas of [over, now.node]) {
    frame.listen(canvas, "pointerleave", () => {
      scene.hover(null);
      scene.aim(null);
      frame.tooltip.hide();
    });
  }
  frame.listen(over, "keydown", (/** @type {KeyboardEvent} */ event) => {
    if (!["ArrowUp", "ArrowDown", "Enter"].includes(event.key) || scene.content().kind !== "images") return;
    event.preventDefault();
    event.stopPropagation();
    const seeds = scene.listed();
    const from = scene.shown();
    if (event.key === "Enter") {
      if (from !== null) scene.toggle(from, true);
      return;
    }
    const next =
      from === null
        ? seeds[0]
        : seeds[(seeds.indexOf(from) + (event.key === "ArrowDown" ? 1 : -1) + seeds.length) % seeds.length];
    scene.hover(next);
    frame.say(`seed ${next}${scene.className(next) ? `, ${scene.className(next)}` : ""}`);
  });
  frame.listen(over, "blur", () => scene.hover(null));

  return {
    node,
    /**
     * @param {import("../../parts/theme.js").Theme} theme
     * @param {number} width
     * @param {number} most px of height
     */
    update(theme, width, most) {
      const tall = frame.room(node, 170, most);
      const images = scene.content().kind === "images";
      const seeds = images ? scene.listed() : [];
      const longest = Math.max(...scene.runs().map(({ name }) => name.length));
      const left = Math.max(70, Math.min(frame.root.hasAttribute("data-narrow") ? 84 : 136, 7.2 * longest + 24));
      const all = model.get("all_steps");
      const ghost = images && model.get("ghost");
      const key = JSON.stringify([
        seeds,
        tall,
        width,
        left,
        all,
        ghost,
        theme.dark,
        theme.paper,
        theme.ink,
        scene.run().name,
        scene.runs().map(({ name }) => name),
        scene.content().revision,
        scene.seeds(),
      ]);
      now.node.hidden = !images;
      if (images) now.draw(theme, seeds.slice(0, MOST), width, left, ghost, Math.round(tall * 0.52));
      scroll.style.maxHeight = `${frame.room(scroll, 96, tall)}px`;
      if (key !== drawn || !layout) {
        drawn = key;
        const rows = Math.max(1, seeds.length) * scene.runs().length;
        const least = images ? Math.max(24, Math.min(52, Math.floor((tall - 22 * seeds.length - 24) / rows) - 3)) : 64;
        layout = createRows(scene, seeds, width - 14, left, { all, ghost, least, most: images ? 52 : 96, tall });
        drawBase(theme, layout);
      }
      drawOver(theme, layout);
      over.setAttribute(
        "aria-label",
        `What each model believes at each of its steps, of ${images ? `${seeds.length} seeds` : "all seeds"}. ${scene
          .runs()
          .map((one) => `${one.name} at ${scene.when(one)}`)
          .join("; ")}. Arrow keys step, up and down walk through the seeds, Enter selects.`,
      );
    },
  };

  /**
   * All pictures; drawn again only when something other than the step has changed.
   * @param {import("../../parts/theme.js").Theme} theme
   * @param {import("./rows.js").Layout} shown
   */
  function drawBase(theme, shown) {
    const { rows, groups, left, size, ghost, width, height } = shown;
    const runs = scene.runs();
    over.dataset.size = String(size);
    over.dataset.cells = rows
      .flatMap((row) =>
        row.x.flatMap((x, index) =>
          row.kept[index] ? [[row.seed, runs.indexOf(row.run), index, x, row.y].join(" ")] : [],
        ),
      )
      .join(";");
    const context = sharp(base, width, height);
    context.imageSmoothingEnabled = false;
    context.font = theme.type(10);
    context.fillStyle = theme.quiet;
    context.textAlign = "center";
    header(context, shown);
    context.textAlign = "left";
    const chosen = new Set(scene.seeds());
    for (const { seed, y, height: tall } of groups) {
      if (seed < 0) continue;
      const label = scene.className(seed);
      context.font = theme.type(11, 600);
      context.fillStyle = theme.ink;
      context.fillText(`seed ${seed}${label ? `, class ${label}` : ""}`, 8, y + 12);
      if (chosen.has(seed)) {
        context.fillStyle = theme.focus;
        context.fillRect(0, y + 2, 3, tall - 4);
      }
    }
    for (const { run, seed, y, x, kept } of rows) {
      const colour = scene.colour(run, theme.dark);
      const middle = y + Math.min(size / 2, 14);
      context.fillStyle = colour;
      context.fillRect(8, middle - 5, 3, 10);
      context.fillStyle = theme.ink;
      context.font = theme.type(11);
      context.fillText(elide(context, run.name, left - 24), 15, middle + 4);
      context.fillStyle = colour;
      // A belief holds until the next: a line from each picture to the next one.
      context.globalAlpha = 0.35;
      context.fillRect(x[0], y + size / 2 - 0.75, x[x.length - 1] - x[0], 1.5);
      context.globalAlpha = 1;
      kept.forEach((there, index) => {
        if (!there) return;
        sheets.draw(context, run, "targets", index, seed, x[index], y, size, theme);
        if (!ghost) return;
        context.globalAlpha = 0.5;
        sheets.draw(context, run, "states", index, seed, x[index] + (size - ghost) / 2, y + size + 1, ghost - 1, theme);
        context.globalAlpha = 1;
      });
    }
  }

  /**
   * Steps of the timeline above the rows.
   * @param {CanvasRenderingContext2D} context
   * @param {import("./rows.js").Layout} shown
   */
  function header(context, { at, size, width }) {
    const clock = scene.run();
    const last = at(clock.steps) + size / 2;
    context.fillText("sample", Math.min(last, width - 20), 11);
    let edge = -Infinity;
    for (let k = 0; k < clock.steps; k++) {
      const x = at(k) + size / 2;
      const text = k === 0 ? `${size > 40 ? "step " : ""}1` : String(k + 1);
      const half = context.measureText(text).width / 2;
      if (x - half < edge + 14 || x + half > last - 30) continue;
      context.fillText(text, x, 11);
      edge = x + half;
    }
  }

  /**
   * The cursor: the picture of each row that holds now, and a line through them.
   * @param {import("../../parts/theme.js").Theme} theme
   * @param {import("./rows.js").Layout} shown
   */
  function drawOver(theme, shown) {
    const { rows, groups, size, width, height, at } = shown;
    const context = sharp(over, width, height);
    context.imageSmoothingEnabled = false;
    const x = Math.round(at(scene.position()) + size / 2) + 0.5;
    context.strokeStyle = theme.ink;
    context.globalAlpha = 0.55;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(x, 15);
    context.lineTo(x, height);
    context.stroke();
    context.globalAlpha = 1;
    const hovered = scene.hovered();
    for (const { seed, y, height: tall } of groups) {
      if (seed < 0 || seed !== hovered) continue;
      context.fillStyle = theme.focus;
      context.globalAlpha = 0.5;
      context.fillRect(0, y + 2, 3, tall - 4);
      context.globalAlpha = 1;
    }
    for (const row of rows) {
      const index = scene.indexOf(row.run);
      const left = row.x[index];
      if (!row.kept[index]) {
        context.fillStyle = theme.paper;
        context.fillRect(left - 2, row.y - 1, size + 4, size + 2);
        sheets.draw(context, row.run, "targets", index, row.seed, left, row.y, size, theme);
      }
      context.strokeStyle = scene.colour(row.run, theme.dark);
      context.lineWidth = 2;
      context.strokeRect(left - 1, row.y - 1, size + 2, size + 2);
    }
  }
}
