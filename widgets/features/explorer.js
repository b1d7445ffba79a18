// FeatureSimilarityExplorer: which layers of two networks see alike, and why; the other half is explorer.py.

import { bestMatches, createData } from "./data.js";
import { similaritySettings } from "./controls/settings.js";
import { createInspector } from "./inspector/inspector.js";
import { caption, hatched } from "./words.js";
import { runColour } from "../parts/colours.js";
import { el, fill, number } from "../parts/dom.js";
import { createFrame } from "../parts/frame.js";
import { createHeatMap } from "../parts/heatmap.js";
import { BARE_GUTTER, rowGutter } from "../parts/heatmap_layout.js";
import { createLegend } from "../parts/legend.js";
import { createTabs } from "../parts/tabs.js";
import { createTimeline } from "../parts/timeline.js";
import { facts } from "../parts/tooltip.js";

const SIDE_NAMES = 120; // px for row names where maps stand side by side

/** @param {{ model: import("../parts/dom.js").Model, el: HTMLElement }} view */
function render({ model, el: host }) {
  const data = createData(model);
  const frame = createFrame(
    { model, el: host },
    {
      name: "feature-similarity",
      table: data.table,
      settings: similaritySettings(model, data),
    },
  );
  const legend = createLegend();
  const differenceLegend = createLegend();
  const stages = el("div", { class: "dw-stages" });
  const tabs = createTabs(frame, "Map that is shown");
  const scales = el("div", { class: "dw-scales" }, legend.node, differenceLegend.node);
  frame.stage.append(tabs.node, scales, stages);
  const inspector = createInspector(frame, data);

  /** @type {import("./inspector/inspector.js").LayerPair | null} */
  let hovered = null;
  /**
   * @type {{ p: number, map: ReturnType<typeof createHeatMap>, box: HTMLElement, note: HTMLElement }[]} p: which
   *   pair; −1 the difference
   */
  let maps = [];
  let built = /** @type {any} */ (null);

  const pinned = () => {
    const { layer_a: a, layer_b: b } = model.get("selection");
    return a && b ? { a, b } : null;
  };

  /** @param {number} p */
  const seen = (p) => (p < 0 ? data.difference() : data.seen(p));

  /**
   * @param {number} p
   * @param {[number, number]} at
   */
  function namesOf(p, [row, column]) {
    return { a: data.nameOf(p, "rows", row), b: data.nameOf(p, "columns", column) };
  }

  /**
   * @param {number} p
   * @param {[number, number]} at
   */
  function nameAt(p, [row, column]) {
    const view = /** @type {import("./data.js").Seen} */ (seen(p));
    return `${view.rows[row]} × ${view.columns[column]}`;
  }

  /**
   * @param {number} p
   * @param {[number, number]} at
   * @returns {[string, string][]}
   */
  function lines(p, at) {
    const view = /** @type {import("./data.js").Seen} */ (seen(p));
    const value = view.values[at[0] * view.columns.length + at[1]];
    const { interval } = data.cell(p, namesOf(p, at));
    const what = p < 0 ? "difference" : model.get("measure");
    if (Number.isNaN(value)) return [[what, view.reason(...at)]];
    return [
      [what, (p < 0 && value > 0 ? "+" : "") + number(value)],
      ...(interval && !Number.isNaN(interval[0])
        ? [/** @type {[string, string]} */ (["95 % interval", `${number(interval[0])} to ${number(interval[1])}`])]
        : []),
    ];
  }

  function build() {
    const { pairs } = data.content();
    const shown = pairs.length === 2 ? [0, 1, -1] : [0];
    maps = shown.map((p) => {
      const testid = p < 0 ? "heatmap-difference" : `heatmap-${p}`;
      const map = createHeatMap(frame, testid, {
        hover: (at, point) => {
          hovered = at && namesOf(p, at);
          if (at && point && hovered)
            frame.tooltip.show(point.x, point.y, el("b", {}, nameAt(p, at)), facts(lines(p, at)));
          else frame.tooltip.hide();
          frame.invalidate();
        },
        pin: (at) => {
          const names = namesOf(p, at);
          const now = pinned();
          const same = now && names.a === now.a && names.b === now.b;
          frame.select({ layer_a: same ? null : names.a, layer_b: same ? null : names.b });
        },
        name: (axis, index, point) => {
          const view = seen(p);
          if (axis && view)
            frame.tooltip.show(point.x, point.y, axis === "rows" ? view.rows[index] : view.columns[index]);
        },
        describe: (at) =>
          `${nameAt(p, at)}: ${lines(p, at)
            .map((line) => line.join(" "))
            .join(", ")}`,
      });
      const note = el("p", { class: "dw-empty", hidden: true });
      const full = p < 0 ? `${pairs[1].title} − ${pairs[0].title}` : pairs[p].title;
      const box = el(
        "figure",
        { class: "dw-figure" },
        pairs.length > 1 && el("figcaption", { title: full }, full),
        map.node,
        note,
      );
      return { p, map, box, note };
    });
    fill(stages, ...maps.map(({ box }) => box));
    frame.root.toggleAttribute("data-comparing", pairs.length > 1);
  }

  const { content } = data;
  createTimeline(frame, {
    unit: "epoch",
    positions: () => content().epochs,
    get: data.position,
    set: (index) => frame.select({ epoch: content().epochs[index] }),
    curves: (theme) => {
      const { pairs } = content();
      const cellNow = hovered ?? pinned();
      const inks =
        pairs.length > 1 ? [runColour("student", 0, theme.dark), runColour("other", 0, theme.dark)] : [theme.quiet];
      return pairs.flatMap((pair, p) => {
        const of = pairs.length > 1 ? `, ${pair.title}` : "";
        const dash = p ? [5, 3] : [];
        const ink = pairs.length > 1 ? inks[p] : theme.focus;
        return [
          ...(pairs.length > 1 && cellNow
            ? []
            : [{ name: `mean over all cells${of}`, values: data.means(p), colour: inks[p], dash }]),
          ...(cellNow
            ? [
                {
                  name: pairs.length > 1 ? `this cell${of}` : `${cellNow.a} × ${cellNow.b}`,
                  values: data.course(p, cellNow),
                  colour: ink,
                  dash,
                },
              ]
            : []),
        ];
      });
    },
  });
  frame.bar.onDismiss(() => frame.select({ layer_a: null, layer_b: null, example: null }));
  frame.keys.add([], "walk through a matrix or a cloud that has the focus", null, "↑ / ↓ / ← / →");
  frame.keys.add([], "pin what is under the cursor", null, "Enter");

  frame.onDraw((theme) => {
    if (built !== content()) {
      built = content();
      build();
    }
    const { pairs, difference, note } = content();
    const target = hovered ?? pinned();
    const stretched = model.get("stretch");
    const [low, high] = stretched ? data.range() : [0, 1];
    const limit = data.spread();
    const diverging = theme.dark ? "diverging-dark" : "diverging";
    const sameRows = pairs.length > 1 && JSON.stringify(pairs[0].layers_a) === JSON.stringify(pairs[1].layers_a);
    const stacked = frame.root.hasAttribute("data-narrow");
    const seenTab = tabs.update(maps.map(({ box }) => box.querySelector("figcaption")?.textContent ?? ""));
    const sideBySide = pairs.length > 1 && !stacked;
    const most = document.fullscreenElement === frame.root ? Infinity : 580;
    const tall = frame.room(stages, 200, most) - (pairs.length > 1 ? 26 : 0);
    // Without row names each map is narrower by just that much, so that all cells are of one size.
    const gutter = sideBySide && sameRows ? rowGutter(theme, pairs[0].layers_a, SIDE_NAMES) - BARE_GUTTER : 0;
    const room = stages.clientWidth;
    const each = sideBySide ? Math.floor((room - gutter - 24) / 3) : room;
    for (const { p, map, box, note: why } of maps) {
      const view = seen(p);
      const away = seenTab !== null && maps[seenTab].p !== p;
      box.hidden = away;
      map.node.hidden = view === null;
      why.hidden = view !== null;
      if (away) continue;
      if (!view) {
        const reason =
          p < 0 && difference && "reason" in difference
            ? difference.reason
            : `${model.get("measure")}${model.get("class_name") ? ` within ${model.get("class_name")}` : ""} was not computed here.`;
        fill(why, reason);
        continue;
      }
      const at = (/** @type {import("./inspector/inspector.js").LayerPair | null} */ names) => {
        const found = names && data.cell(p, names);
        return found?.there ? /** @type {[number, number]} */ ([found.row, found.column]) : null;
      };
      const pair = pairs[Math.max(0, p)];
      const hideRowNames = sameRows && p !== 0 && !stacked;
      const width = hideRowNames ? each : each + gutter;
      box.toggleAttribute("data-bare", hideRowNames);
      box.style.width = sideBySide ? `${width}px` : "";
      const other =
        p === 1 ? runColour("other", 0, theme.dark) : p < 0 ? theme.quiet : runColour("student", 0, theme.dark);
      map.update(
        theme,
        {
          label:
            p < 0
              ? `Difference of two heat maps, ${view.rows.length} by ${view.columns.length} layers`
              : `Heat map of ${model.get("measure")}: ${view.rows.length} layers of ${pair.name_a} by ${view.columns.length} layers of ${pair.name_b}`,
          rows: data.once(`rows ${p} ${theme.dark}`, () => ({
            title: pair.name_a,
            colour: runColour("teacher", 0, theme.dark),
            names: view.rows,
          })),
          columns: data.once(`columns ${p} ${theme.dark}`, () => ({
            title: p < 0 ? "difference" : pair.name_b,
            colour: other,
            names: view.columns,
          })),
          values: view.values,
          map: p < 0 ? diverging : model.get("colour_map"),
          low: p < 0 ? -limit : low,
          high: p < 0 ? limit : high,
          outlined:
            p >= 0 && model.get("best_match") ? data.once(`best ${p} ${data.position()}`, () => bestMatches(view)) : [],
          diagonal: model.get("diagonal"),
          numbers: model.get("numbers"),
          pinned: at(pinned()),
          hovered: at(hovered),
          hideRowNames,
          rowRoom: sideBySide ? SIDE_NAMES : undefined,
        },
        width,
        tall,
      );
    }
    const first = data.seen(0);
    const mark = target && data.cell(0, target).value;
    legend.update(theme, {
      label: model.get("measure"),
      note: stretched ? "range of the values" : "",
      map: model.get("colour_map"),
      low,
      high,
      mark,
      clipped: data.extremes()[0] < low - 0.005,
      above: data.extremes()[1] > high + 0.005,
    });
    const shift = data.difference();
    differenceLegend.node.hidden = !shift;
    if (shift)
      differenceLegend.update(theme, {
        label: "difference",
        map: diverging,
        low: -limit,
        high: limit,
        mark: target && data.cell(-1, target).value,
        clipped: false,
      });
    inspector.update(theme, target, hovered !== null);
    frame.bar.update();
    const { epochs } = content();
    const inexact = pairs.filter((pair) => epochs.length && !pair.own_epochs.includes(epochs[data.position()]));
    frame.status.facts([
      `n = ${(first?.n ?? 0).toLocaleString("en")}`,
      model.get("class_name") ? `only ${model.get("class_name")}` : "",
      ...(pairs[0].measures[model.get("measure")]?.computed ?? []),
      ...inexact.map(
        (pair) => `${pair.title}: nearest earlier epoch, ${pair.own_epochs[pair.slices[data.position()]]}`,
      ),
      hatched(data, first) ? `${hatched(data, first)} cells have no value (hatched)` : "",
      difference && "how" in difference ? difference.how : "",
      note,
    ]);
    frame.bar.describe(model.get("title"), caption(model, data));
  });

  frame.watch(
    [
      "content",
      "arrays",
      "selection",
      "measure",
      "class_name",
      "best_match",
      "diagonal",
      "numbers",
      "stretch",
      "colour_map",
      "title",
    ],
    () => frame.invalidate(),
  );
  frame.invalidate();
  return () => frame.dispose();
}

export default { render };
