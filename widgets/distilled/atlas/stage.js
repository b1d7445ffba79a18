// The stage: the atlas as it is now, or beside, alternating with, or minus something else; what hands on it do.

import { createAtlas } from "./atlas.js";
import { createLayout } from "./layout.js";
import { createPointer } from "./pointer.js";
import { differenceSource, imageSource, largestDifference, word } from "./texture.js";
import { createViewport } from "./viewport.js";
import { classColour, inkOn } from "../../parts/colours.js";
import { el, number, write } from "../../parts/dom.js";
import { createLegend } from "../../parts/legend.js";
import { createTabs } from "../../parts/tabs.js";
import { facts } from "../../parts/tooltip.js";

/** @typedef {import("../data.js").Side} Side */

const FLICKER = 650; // ms
const READABLE = 4; // px of a pixel from which on the cursor points at pixels

/**
 * @param {import("../../parts/frame.js").Frame} frame
 * @param {import("../data.js").Data} data
 */
export function createStage(frame, data) {
  const { model } = frame;
  const viewport = createViewport();
  const first = createAtlas("atlas");
  const second = createAtlas("atlas-other");
  const titles = [0, 1].map((k) => el("figcaption", { "data-testid": `atlas-title-${k}` }));
  const figures = [first, second].map((atlas, k) => el("figure", { class: "dw-figure" }, titles[k], atlas.node));
  const legend = createLegend();
  legend.node.dataset.testid = "atlas-legend";
  const nothing = el(
    "p",
    { class: "dw-empty", "data-testid": "no-images", hidden: true },
    "No image is of the classes that are chosen: choose others above, or all.",
  );
  const tabs = createTabs(frame, "Atlas that is shown");
  const node = el("div", { class: "dw-atlases", "data-testid": "atlases" }, ...figures, nothing);
  /** @type {import("./layout.js").Layout | null} */
  let layout = null;
  /** @type {import("./pointer.js").Tool} */
  let tool = "move";
  let hovered = /** @type {number | null} */ (null);
  let pixel = /** @type {[number, number] | null} */ (null);
  let outline = /** @type {[number, number][] | null} */ (null);
  let cursor = /** @type {number | null} */ (null);
  let flipped = false;
  let timer = 0;
  let paused = globalThis.matchMedia("(prefers-reduced-motion: reduce)").matches;
  let pending = 0;
  let last = { row: -1, time: 0 };
  /** @type {(() => void) | null} */
  let paint = null;

  frame.onDispose(() => {
    clearInterval(timer);
    cancelAnimationFrame(pending);
  });

  /** Moving and zooming draw the atlas only, not all the rest. */
  function repaint() {
    pending ||= requestAnimationFrame(() => {
      pending = 0;
      frame.guard(() => paint?.());
    });
  }

  /** @param {number[]} rows @param {import("./pointer.js").How} how */
  function pick(rows, how) {
    const now = data.selection().images;
    const chosen = new Set(now);
    const again = rows.length === 1 && rows[0] === last.row && performance.now() - last.time < 400;
    if (rows.length === 1) {
      last = { row: rows[0], time: performance.now() };
      cursor = rows[0];
    }
    /** @type {number[]} */
    let next;
    if (how === "add") next = [...now, ...rows.filter((row) => !chosen.has(row))];
    else if (how === "subtract") next = now.filter((row) => !rows.includes(row));
    else if (how === "toggle")
      next = rows.every((row) => chosen.has(row))
        ? now.filter((row) => !rows.includes(row))
        : [...now, ...rows.filter((row) => !chosen.has(row))];
    // A second click lets go, but not the second one of a double click.
    else next = now.length === 1 && rows.length === 1 && now[0] === rows[0] && !again ? [] : rows;
    frame.select({ images: next });
    frame.say(`${next.length} ${next.length === 1 ? "image" : "images"} selected`);
  }

  /** @param {number} row @param {[number, number] | null} at */
  function lines(row, at) {
    const [one, other] = [data.here(), data.there()];
    const rows = data.facts(row);
    if (!at || viewport.now().scale < READABLE) return rows;
    const names = data.content().shape[0] === 3 ? ["red", "green", "blue"] : null;
    /** @param {number[] | null} values */
    const written = (values) =>
      values
        ? values.map((value, c) => `${names ? `${names[c]} ` : ""}${number(value, 3)}`).join(", ")
        : "no such image";
    const own = data.valuesAt(one, row, ...at);
    rows.push([`pixel ${at[0]}, ${at[1]}`, written(own)]);
    if (other) {
      const its = data.valuesAt(other, row, ...at);
      rows.push([other.title, written(its)]);
      if (own && its)
        rows.push([
          data.content().shape[0] > 1 ? "difference, channel mean" : "difference",
          number(mean(own) - mean(its), 3),
        ]);
    }
    return rows;
  }

  /** @type {import("./pointer.js").Hands["hover"]} */
  function hover(row, at, point, spoken) {
    const changed = row !== hovered;
    if (!changed && String(at) === String(pixel) && !spoken) return;
    hovered = row;
    pixel = at;
    if (row !== null && spoken) cursor = row;
    if (row !== null && point) {
      frame.tooltip.show(point.x, point.y, el("b", {}, data.describe(row)), facts(lines(row, at)));
      if (spoken)
        frame.say(
          `${data.describe(row)}${data.selection().images.includes(row) ? ", selected" : ""}: ${data
            .facts(row)
            .map((line) => line.join(" "))
            .join(", ")}`,
        );
    } else frame.tooltip.hide();
    if (changed) frame.invalidate();
    else repaint();
  }

  for (const atlas of [first, second]) {
    createPointer(frame, atlas.canvas, {
      layout: () => layout,
      viewport,
      tool: () => tool,
      cursor: () => cursor ?? data.selection().images.at(-1) ?? null,
      hover,
      pick,
      outline: (line) => {
        outline = line;
        repaint();
      },
      moved: () => {
        frame.tooltip.hide();
        repaint();
      },
    });
  }

  const how = () => (model.get("against") === "nothing" ? "alone" : /** @type {string} */ (model.get("compare")));

  /** Flickering goes on only while it is seen. */
  function keepTime() {
    const runs = how() === "flicker" && !paused;
    if (runs && !timer) {
      timer = /** @type {any} */ (
        setInterval(() => {
          flipped = !flipped;
          frame.invalidate();
        }, FLICKER)
      );
    } else if (!runs) {
      clearInterval(timer);
      timer = 0;
      if (how() !== "flicker") flipped = false;
    }
  }

  /** @param {Side} side @returns {[number, number]} */
  const range = (side) => (model.get("full_range") ? [side.pixels.low, side.pixels.high] : [0, 1]);

  return {
    node,
    tabs: tabs.node,
    legend: legend.node,
    viewport,
    hovered: () => hovered,
    tool: () => tool,
    /** @param {import("./pointer.js").Tool} next */
    use(next) {
      tool = next;
      frame.invalidate();
    },
    paused: () => paused,
    /** Flip by hand; flickering on its own stops. */
    flip() {
      paused = true;
      flipped = !flipped;
      frame.invalidate();
    },
    pause() {
      paused = !paused;
      frame.invalidate();
    },
    /** @param {number} factor */
    zoom(factor) {
      viewport.zoom(factor, first.canvas.clientWidth / 2, first.canvas.clientHeight / 2);
      repaint();
    },
    fit() {
      viewport.all();
      repaint();
    },
    pick,
    shown: () => layout?.placed.flatMap(({ block }) => block.rows) ?? [],
    /**
     * @param {import("../../parts/theme.js").Theme} theme
     * @param {number} width
     * @param {number} tall
     */
    update(theme, width, tall) {
      keepTime();
      const [one, other] = [data.here(), data.there()];
      const mode = other ? how() : "alone";
      const beside = mode === "side by side";
      const stacked = frame.root.hasAttribute("data-narrow");
      const each = beside && !stacked ? Math.floor((width - 16) / 2) : width;
      const seenTab = tabs.update(beside && other ? [one.title, other.title] : []);
      const room = mode === "alone" || seenTab !== null ? tall : tall - 24;
      const blocks = data.blocks();
      const { shape } = data.content();
      const now = (layout = data.once("layout", [blocks, each, room], () =>
        createLayout(blocks, [shape[1], shape[2]], each, room),
      ));
      const height = Math.max(120, Math.min(room, Math.ceil(now.world[1] * now.scale) + 6));
      viewport.fit(now, each, height);
      node.dataset.layout = mode;
      nothing.hidden = blocks.length > 0;
      figures[0].hidden = !blocks.length || seenTab === 1;
      figures[1].hidden = !beside || !blocks.length || seenTab === 0;
      figures[0].style.width = figures[1].style.width = `${each}px`;
      const blank = word(theme.panel);
      const labels = data.labels();
      const strips = data.once("strips", [theme.dark], () =>
        data.content().classes.map((_, k) => word(classColour(k, theme.dark))),
      );
      const strip = (/** @type {number} */ row) => strips[labels[row]];
      const map = theme.dark ? "diverging-dark" : "diverging";
      const limit =
        mode === "difference" && other
          ? data.once("limit", [one.pixels, other.pixels, other.rows], () =>
              largestDifference(one, other, shape, data.set().count),
            )
          : 0;
      const sides = /** @type {[Side, Side][]} */ (
        beside && other
          ? [
              [one, one],
              [other, other],
            ]
          : mode === "flicker" && other && flipped
            ? [[other, other]]
            : [[one, other ?? one]]
      );
      const drawn = sides.map(([side, against]) =>
        mode === "difference"
          ? differenceSource(side, against, shape, limit, map, blank)
          : imageSource(side, shape, range(side), blank),
      );
      const title = mode === "difference" && other ? `${one.title} − ${other.title}` : sides[0][0].title;
      write(titles[0], title);
      write(titles[1], other?.title ?? "");
      titles[0].hidden = mode === "alone" || seenTab !== null;
      titles[1].hidden = seenTab !== null;
      legend.node.hidden = mode !== "difference";
      const selected = new Set(data.selection().images);
      const count = now.places.size;
      paint = () => {
        // While everything is seen there is nothing to move: a finger on the atlas scrolls the page.
        for (const { canvas } of [first, second])
          canvas.style.touchAction = viewport.fitted && tool === "move" ? "pan-y" : "none";
        sides.forEach(([side], k) => {
          (k ? second : first).draw(
            theme,
            {
              label: `Atlas of ${count.toLocaleString("en")} images of ${blocks.length} ${now.header ? "classes" : "block"}, ${mode === "difference" ? title : side.title}. Arrow keys walk, Enter selects, Shift adds, plus and minus zoom, 0 shows all.`,
              layout: now,
              viewport,
              source: drawn[k],
              strip,
              selected,
              hovered:
                hovered ??
                (document.activeElement === first.canvas || document.activeElement === second.canvas ? cursor : null),
              outline,
              values:
                mode === "difference" && other
                  ? (row, x, y) => difference(side, other, row, x, y)
                  : (row, x, y) => data.valuesAt(side, row, x, y),
              ink:
                mode === "difference"
                  ? (values) => inkOn(map, values[0], -limit, limit)
                  : (values) => inkOver(values, range(side)),
            },
            each,
            height,
          );
        });
        if (mode === "difference" && other) {
          const mark = hovered !== null && pixel ? (difference(one, other, hovered, ...pixel)?.[0] ?? null) : null;
          legend.update(theme, {
            label: shape[0] > 1 ? "difference of raw values, channel mean" : "difference of raw values",
            map,
            low: -limit,
            high: limit,
            mark,
            clipped: false,
          });
        }
      };
      if (blocks.length) paint();
    },
  };

  /** @param {Side} one @param {Side} other @param {number} row @param {number} x @param {number} y */
  function difference(one, other, row, x, y) {
    const [a, b] = [data.valuesAt(one, row, x, y), data.valuesAt(other, row, x, y)];
    return a && b ? [mean(a) - mean(b)] : null;
  }
}

/**
 * Black or white, whichever reads better on a pixel.
 * @param {number[]} values one, or red, green and blue
 * @param {[number, number]} range that is black and white
 */
function inkOver(values, [low, high]) {
  const [r, g, b] = (values.length >= 3 ? values : [values[0], values[0], values[0]]).map(
    (value) => Math.max(0, Math.min(1, (value - low) / (high - low || 1))) ** 2.2,
  );
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.18 ? "#000" : "#fff";
}

/** @param {number[]} values */
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
