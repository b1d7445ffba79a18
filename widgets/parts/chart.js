// Charts of lines, points and bars: sketched at once on a canvas, then drawn by Plotly as soon as it is on the page.

import { el, number, sharp } from "./dom.js";
import { library } from "./library.js";

/**
 * @typedef {{ name: string, kind: "line" | "points" | "bars", x: (number | string)[], y: number[], colour: string,
 *   dash?: number[], width?: number, opacity?: number, sizes?: number[], hover?: string[], quiet?: boolean }} Series
 */

/** What a chart shows.
 * @typedef {object} Chart
 * @property {string} label for a screen reader
 * @property {Series[]} series
 * @property {string} xTitle
 * @property {string} yTitle
 * @property {[number, number] | null} xRange null: the series are bars over categories
 * @property {[number, number]} yRange
 * @property {boolean} [log] logarithmic y
 * @property {boolean} [percent] y is a share
 * @property {number | null} [cursor] a vertical line
 */

const MARGIN = { left: 52, right: 10, top: 10, bottom: 40 };

/**
 * @param {import("./frame.js").Frame} frame
 * @param {string} testid
 * @param {(x: number) => void} [pick] a click at x
 */
export function createChart(frame, testid, pick) {
  const canvas = el("canvas", { role: "img" });
  const plot = el("div", { class: "dw-plotly", hidden: true, role: "img" });
  const cursor = el("div", { class: "dw-cursor", "aria-hidden": "true", hidden: true });
  const node = el("div", { class: "dw-chart", "data-testid": testid }, canvas, plot, cursor);
  /** @type {any} */
  let plotly = null;
  let drawn = "";
  let range = /** @type {[number, number] | null} */ (null);
  let size = [0, 0];
  let asked = false;

  /** @param {number} x */
  const along = (x) => {
    const [low, high] = range ?? [0, 1];
    return MARGIN.left + ((x - low) / (high - low || 1)) * (size[0] - MARGIN.left - MARGIN.right);
  };

  frame.onDispose(() => plotly?.purge(plot));
  frame.listen(node, "click", (/** @type {MouseEvent} */ event) => {
    if (!pick || !range) return;
    const [low, high] = range;
    const x = event.clientX - node.getBoundingClientRect().left;
    if (x > MARGIN.left && x < size[0] - MARGIN.right)
      pick(low + ((x - MARGIN.left) / (size[0] - MARGIN.left - MARGIN.right)) * (high - low));
  });

  return {
    node,
    /**
     * @param {import("./theme.js").Theme} theme
     * @param {Chart} chart
     * @param {number} width
     * @param {number} height
     */
    update(theme, chart, width, height) {
      if (!asked) {
        asked = true;
        void library(frame, "Plotly").then((found) => {
          plotly = found;
          if (found) frame.invalidate();
        });
      }
      const { cursor: at, ...still } = chart;
      const now = JSON.stringify([still, theme, width, height, plotly !== null]);
      size = [width, height];
      if (now !== drawn) {
        drawn = now;
        range = chart.xRange;
        canvas.hidden = plotly !== null;
        plot.hidden = plotly === null;
        if (plotly) draw(theme, chart, width, height);
        else sketch(sharp(canvas, width, height), theme, chart, width, height);
        for (const target of [canvas, plot]) target.setAttribute("aria-label", chart.label);
        node.dataset.drawn = plotly ? "plotly" : "sketch";
        node.style.height = `${height}px`;
      }
      const x = at === null || at === undefined ? NaN : along(at);
      cursor.hidden = !(x >= MARGIN.left - 1 && x <= width - MARGIN.right + 1);
      cursor.style.transform = `translateX(${x}px)`;
      cursor.style.top = `${MARGIN.top}px`;
      cursor.style.height = `${height - MARGIN.top - MARGIN.bottom}px`;
    },
  };

  /**
   * @param {import("./theme.js").Theme} theme
   * @param {Chart} chart
   * @param {number} width
   * @param {number} height
   */
  function draw(theme, chart, width, height) {
    const axis = {
      gridcolor: theme.line,
      linecolor: theme.line,
      zeroline: false,
      tickcolor: theme.line,
      spikecolor: theme.quiet,
      spikethickness: 1,
      automargin: false,
      fixedrange: chart.xRange === null,
    };
    const traces = chart.series.map((one) => ({
      type: one.kind === "bars" ? "bar" : "scatter",
      mode: one.kind === "line" ? "lines" : "markers",
      // Plotly reads some HTML in names: what comes from the data is shown as it is written.
      name: escape(one.name),
      x: one.x.map((x) => (typeof x === "string" ? escape(x) : x)),
      y: one.y.map((y) => (Number.isFinite(y) ? y : null)),
      opacity: one.opacity ?? 1,
      hoverinfo: one.quiet ? "skip" : undefined,
      ...(one.quiet
        ? {}
        : {
            hovertemplate: one.hover
              ? `%{text}<extra>${escape(one.name)}</extra>`
              : `%{y:${chart.percent ? ".1%" : ".4~g"}}<extra>${escape(one.name)}</extra>`,
          }),
      text: one.hover?.map(escape),
      textposition: "none",
      line: {
        color: one.colour,
        width: one.width ?? 2,
        dash: one.dash?.length ? one.dash.map((part) => `${part}px`).join(",") : "solid",
      },
      marker: { color: one.colour, size: one.sizes ?? 7, line: { width: 0 } },
    }));
    const layout = {
      width,
      height,
      margin: { l: MARGIN.left, r: MARGIN.right, t: MARGIN.top, b: MARGIN.bottom },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: theme.font, size: 12 * theme.scale, color: theme.ink },
      showlegend: false,
      hovermode: chart.series.some((one) => one.kind === "points") ? "closest" : "x unified",
      hoverlabel: {
        bgcolor: theme.paper,
        bordercolor: theme.line,
        font: { color: theme.ink, family: theme.font, size: 12 * theme.scale },
      },
      hoverdistance: -1,
      dragmode: false,
      barmode: "group",
      bargap: 0.25,
      xaxis: {
        ...axis,
        title: { text: escape(chart.xTitle), standoff: 6 },
        ...(chart.xRange ? { range: chart.xRange } : { type: "category", showgrid: false }),
        fixedrange: true,
      },
      yaxis: {
        ...axis,
        title: { text: escape(chart.yTitle), standoff: 6 },
        type: chart.log ? "log" : "linear",
        range: chart.log ? chart.yRange.map(Math.log10) : chart.yRange,
        tickformat: chart.percent ? ".0%" : undefined,
        nticks: 6,
        fixedrange: true,
      },
    };
    void plotly.react(plot, traces, layout, { displayModeBar: false, responsive: false });
  }
}

/** @param {string} text */
function escape(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/**
 * The same chart without Plotly: there at once, and all there is where no kernel can send it.
 * @param {CanvasRenderingContext2D} context
 * @param {import("./theme.js").Theme} theme
 * @param {Chart} chart
 * @param {number} width
 * @param {number} height
 */
function sketch(context, theme, chart, width, height) {
  const [right, bottom] = [width - MARGIN.right, height - MARGIN.bottom];
  const warp = chart.log ? Math.log10 : (/** @type {number} */ value) => value;
  const [low, high] = chart.yRange.map(warp);
  const y = (/** @type {number} */ value) => bottom - ((warp(value) - low) / (high - low || 1)) * (bottom - MARGIN.top);
  context.font = theme.type(11);
  context.textBaseline = "middle";
  context.textAlign = "right";
  for (let k = 0; k <= 4; k++) {
    const level = low + (k / 4) * (high - low);
    const value = chart.log ? 10 ** level : level;
    context.strokeStyle = theme.line;
    context.beginPath();
    context.moveTo(MARGIN.left, y(value));
    context.lineTo(right, y(value));
    context.stroke();
    context.fillStyle = theme.ink;
    context.fillText(chart.percent ? `${Math.round(100 * value)}%` : number(value, 2), MARGIN.left - 6, y(value));
  }
  context.textAlign = "center";
  context.fillText(chart.xTitle, (MARGIN.left + right) / 2, height - 9);
  context.save();
  context.translate(9, (MARGIN.top + bottom) / 2);
  context.rotate(-Math.PI / 2);
  context.fillText(chart.yTitle, 0, 0);
  context.restore();
  const groups = chart.series.filter((one) => one.kind === "bars");
  const range = chart.xRange;
  const x = range
    ? (/** @type {number} */ value) =>
        MARGIN.left + ((value - range[0]) / (range[1] - range[0] || 1)) * (right - MARGIN.left)
    : () => 0;
  if (range)
    for (let k = 0; k <= 4; k++)
      context.fillText(
        number(range[0] + (k / 4) * (range[1] - range[0]), range[1] <= 1 ? 2 : 0),
        x(range[0] + (k / 4) * (range[1] - range[0])),
        bottom + 11,
      );
  context.lineJoin = "round";
  for (const one of chart.series) {
    context.globalAlpha = one.opacity ?? 1;
    context.strokeStyle = context.fillStyle = one.colour;
    context.lineWidth = one.width ?? 2;
    context.setLineDash(one.dash ?? []);
    context.beginPath();
    one.y.forEach((value, i) => {
      if (!Number.isFinite(value)) return;
      if (one.kind === "bars") {
        const step = (right - MARGIN.left) / one.x.length;
        const bar = (0.75 * step) / groups.length;
        context.fillRect(
          MARGIN.left + step * (i + 0.125) + bar * groups.indexOf(one),
          y(value),
          bar,
          bottom - y(value),
        );
      } else if (one.kind === "points") {
        context.moveTo(x(Number(one.x[i])), y(value));
        context.arc(x(Number(one.x[i])), y(value), (one.sizes?.[i] ?? 7) / 2, 0, 2 * Math.PI);
      } else context.lineTo(x(Number(one.x[i])), y(value));
    });
    if (one.kind === "line") context.stroke();
    if (one.kind === "points") context.fill();
  }
  context.globalAlpha = 1;
  context.setLineDash([]);
  context.fillStyle = theme.ink;
  if (!range && groups[0])
    groups[0].x.forEach((name, i) =>
      context.fillText(
        String(name).slice(0, 6),
        MARGIN.left + ((right - MARGIN.left) * (i + 0.5)) / groups[0].x.length,
        bottom + 11,
      ),
    );
  context.textBaseline = "alphabetic";
}
