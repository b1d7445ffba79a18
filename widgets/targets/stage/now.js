// What is believed at the step of the timeline, large: a row for each run, a column for each seed.

import { el, elide, sharp } from "../../parts/dom.js";
import { short } from "../../parts/numbers.js";
import { facts } from "../../parts/tooltip.js";

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("../scene.js").Scene} scene
 * @param {ReturnType<typeof import("./sheets.js").createSheets>} sheets
 */
export function createNow(frame, scene, sheets) {
  const now = el("canvas", { class: "dw-now", "data-testid": "now", role: "img" });
  let cells = { left: 0, pitch: 0, size: 0, seeds: /** @type {number[]} */ ([]), rows: /** @type {number[]} */ ([]) };

  /** @param {MouseEvent} event */
  function cellNow(event) {
    const { x, y } = pixel(now, event);
    const column = Math.floor((x - cells.left) / cells.pitch);
    const run = cells.rows.filter((top) => y >= top).length - 1;
    return column >= 0 && column < cells.seeds.length && run >= 0
      ? { seed: cells.seeds[column], run: scene.runs()[run] }
      : null;
  }
  frame.listen(now, "pointermove", (/** @type {PointerEvent} */ event) => {
    const cell = cellNow(event);
    now.style.cursor = cell ? "pointer" : "default";
    scene.hover(cell?.seed ?? null);
    if (cell)
      frame.tooltip.show(event.clientX, event.clientY, ...about(scene, cell.run, scene.indexOf(cell.run), cell.seed));
    else frame.tooltip.hide();
  });
  frame.listen(now, "click", (/** @type {MouseEvent} */ event) => {
    const cell = cellNow(event);
    if (cell) scene.toggle(cell.seed, event.shiftKey || event.ctrlKey || event.metaKey);
  });

  /**
   * What is believed at the step of the timeline, large: a row for each run, a column for each seed.
   * @param {import("../../parts/theme.js").Theme} theme
   * @param {number[]} seeds
   * @param {number} width
   * @param {number} left
   * @param {boolean} ghost
   * @param {number} tall
   */
  function draw(theme, seeds, width, left, ghost, tall) {
    const most = ((tall - 18) / scene.runs().length - 6) / (ghost ? 1.5 : 1) + 4;
    const pitch = Math.max(28, Math.min(78, Math.floor((width - left) / seeds.length), Math.floor(most)));
    const size = pitch - 4;
    const below = ghost ? Math.round(size * 0.5) : 0;
    const runs = scene.runs();
    const each = size + below + 6;
    const height = 18 + each * runs.length;
    const context = sharp(now, width, height);
    context.imageSmoothingEnabled = false;
    context.font = theme.type(11);
    context.textAlign = "center";
    context.fillStyle = theme.quiet;
    cells = { left, pitch, size, seeds, rows: runs.map((_, k) => 18 + k * each) };
    seeds.forEach((seed, column) => {
      const text = scene.className(seed) && pitch > 44 ? `${seed} · ${scene.className(seed)}` : String(seed);
      context.fillText(elide(context, text, pitch - 2), left + column * pitch + size / 2, 11);
    });
    context.textAlign = "left";
    context.fillText(scene.labels() && pitch > 44 ? "seed · class" : "seed", 2, 11);
    const [hovered, chosen] = [scene.hovered(), new Set(scene.seeds())];
    runs.forEach((one, k) => {
      const y = cells.rows[k];
      const index = scene.indexOf(one);
      context.fillStyle = scene.colour(one, theme.dark);
      context.fillRect(1, y + 3, 3, 12);
      context.fillStyle = theme.ink;
      context.font = theme.type(12, 600);
      context.fillText(elide(context, one.name, left - 16), 9, y + 14);
      context.font = theme.type(11);
      context.fillStyle = theme.quiet;
      context.fillText(
        index >= one.steps ? "sample" : left > 80 ? `step ${index + 1} / ${one.steps}` : `${index + 1} / ${one.steps}`,
        9,
        y + 29,
      );
      if (index < one.steps && size + below > 38) context.fillText(`t = ${short(one.times[index])}`, 9, y + 43);
      seeds.forEach((seed, column) => {
        const x = left + column * pitch;
        sheets.draw(context, one, "targets", index, seed, x, y, size);
        if (below) {
          context.globalAlpha = 0.6;
          sheets.draw(context, one, "states", index, seed, x + (size - below + 4) / 2, y + size + 2, below - 4);
          context.globalAlpha = 1;
        }
        if (seed === hovered || chosen.has(seed)) {
          context.strokeStyle = theme.focus;
          context.lineWidth = chosen.has(seed) ? 2.5 : 1.5;
          context.strokeRect(x - 1, y - 1, size + 2, size + 2);
        }
      });
    });
    now.dataset.cells = [left, pitch, size, ...cells.rows].join(" ");
    now.setAttribute(
      "aria-label",
      `What is believed now of ${seeds.length} seeds: ${runs.map((one) => `${one.name} at ${scene.when(one)}`).join("; ")}`,
    );
  }

  return { node: now, draw };
}

/** @param {HTMLElement} canvas @param {MouseEvent} event */
export function pixel(canvas, event) {
  const bounds = canvas.getBoundingClientRect();
  return { x: event.clientX - bounds.left, y: event.clientY - bounds.top };
}

/**
 * What a tooltip says of a cell.
 * @param {import("../scene.js").Scene} scene
 * @param {import("../content.js").Run} run
 * @param {number} index
 * @param {number} seed
 */
export function about(scene, run, index, seed) {
  const when = index >= run.steps ? "sample" : `step ${index + 1} of ${run.steps}, t = ${short(run.times[index])}`;
  if (seed < 0)
    return [
      el("b", {}, `${run.name} · ${when}`),
      facts([
        ["commitment", short(scene.curve(run, "commitment")?.[index])],
        ["spread", short(scene.curve(run, "spread")?.[index])],
      ]),
    ];
  const label = scene.className(seed);
  const pictures = ["targets", "states"].map((kind) => {
    const source = scene.picture(run, /** @type {import("../scene.js").Kind} */ (kind), index, seed);
    if (!source) return false;
    const copy = el("canvas", { class: "dw-thumbnail", width: source.width, height: source.height });
    copy.style.height = kind === "targets" ? "104px" : "56px";
    copy.getContext("2d")?.drawImage(source, 0, 0);
    return copy;
  });
  return [
    el("b", {}, `seed ${seed}${label ? `, class ${label}` : ""} · ${run.name}`),
    el("p", { class: "dw-quiet" }, when),
    el("div", { class: "dw-cards" }, ...pictures),
    facts([["x̂₀ to sample", short(scene.apart(run, index)[seed])]]),
  ];
}
