// TrainingExplorer: how several runs went, epoch by epoch, class by class; the other half is explorer.py.

import { extent, tensor } from "../parts/arrays.js";
import { createChart } from "../parts/chart.js";
import { runColour } from "../parts/colours.js";
import { cutAll, el, fill, number, write } from "../parts/dom.js";
import { createFold } from "../parts/fold.js";
import { createFrame } from "../parts/frame.js";
import { createTimeline, swatch } from "../parts/timeline.js";
import { createRuns, percent } from "./runs.js";

/** @typedef {import("./runs.js").Run} Run */
/** @typedef {import("./runs.js").Content} Content */

/** @param {{ model: import("../parts/dom.js").Model, el: HTMLElement }} view */
function render({ model, el: host }) {
  const content = () => /** @type {Content} */ (model.get("content"));
  const metric = () => content().metrics.find(({ value }) => value === model.get("metric")) ?? content().metrics[0];
  // The timeline shows what the stage does not: the loss under the accuracy, and the accuracy under all else.
  const beneath = () =>
    content().metrics.find(({ value }) => value === (metric().value === "accuracy" ? "loss" : "accuracy")) ?? metric();
  const { values, perClass, caption, table } = createRuns(
    model,
    content,
    () => metric(),
    () => position(),
  );
  const position = () => Math.max(0, content().epochs.indexOf(model.get("selection").epoch));
  const frame = createFrame(
    { model, el: host },
    {
      name: "training",
      table,
      settings: [
        {
          trait: "metric",
          label: "Show",
          kind: "choice",
          inBar: true,
          choices: () => content().metrics.map(({ value, label }) => ({ value, label })),
        },
        { trait: "training_curve", label: "Draw the training curve beside the test curve (thin)", kind: "switch" },
        { trait: "logarithmic", label: "Logarithmic scale for losses", kind: "switch" },
      ],
    },
  );
  const legend = el("div", { class: "dw-runs", role: "group", "aria-label": "Runs", "data-testid": "runs" });
  const curves = createChart(frame, "curves", (x) => frame.select({ epoch: nearest(x) }));
  const weights = el(
    "span",
    { class: "dw-quiet", "data-testid": "weights", hidden: true },
    "thick: test, thin: training",
  );
  frame.stage.append(legend, curves.node);
  const barsTitle = el("div", { class: "dw-heading-small" });
  const bars = createChart(frame, "per-class");
  const reliability = createChart(frame, "reliability");
  const calibration = el("dl", { class: "dw-facts", "data-testid": "calibration" });
  const believed = createFold(
    frame,
    { name: "reliability", title: "Reliability after the last epoch" },
    reliability.node,
    calibration,
  );
  frame.inspector.append(barsTitle, bars.node, believed.node);

  let built = /** @type {any} */ (null);

  /** @param {number} x */
  function nearest(x) {
    return content().epochs.reduce((best, epoch) => (Math.abs(epoch - x) < Math.abs(best - x) ? epoch : best));
  }

  /**
   * @param {Run} run
   * @param {boolean} dark
   */
  const ink = (run, dark) => runColour(run.role, run.other, dark);

  /** @param {Run} run */
  function fade(run) {
    const chosen = model.get("selection").run;
    return chosen === null || chosen === run.name ? 1 : 0.22;
  }

  createTimeline(frame, {
    unit: "epoch",
    positions: () => content().epochs,
    get: position,
    set: (index) => frame.select({ epoch: content().epochs[index] }),
    curves: (theme) =>
      content()
        .runs.filter((run) => fade(run) === 1)
        .map((run) => ({
          name: run.name,
          values: values(run, beneath().main),
          colour: ink(run, theme.dark),
          dash: run.dash,
        })),
    label: () => beneath().label,
  });
  frame.bar.onDismiss(() => frame.select({ run: null }));

  function build() {
    fill(
      legend,
      ...content().runs.map((run) => {
        const chip = el(
          "button",
          { class: "dw-class", "aria-pressed": "false", title: `Look at ${run.name} alone` },
          el("i", { class: "dw-swatch" }),
          el("span", {}, run.name),
          el("b", { class: "dw-number" }),
        );
        chip.addEventListener("click", () =>
          frame.select({ run: model.get("selection").run === run.name ? null : run.name }),
        );
        return chip;
      }),
      weights,
    );
  }

  frame.onDraw((theme) => {
    if (built !== content()) {
      built = content();
      build();
    }
    const { runs, classes, epochs } = content();
    const shown = metric();
    const when = position();
    const epoch = epochs[when];
    const full = document.fullscreenElement === frame.root;
    const log = model.get("logarithmic") && !shown.share;
    /** @type {import("../parts/chart.js").Series[]} */
    const series = runs.flatMap((run) => {
      const line = {
        kind: /** @type {const} */ ("line"),
        x: epochs,
        colour: ink(run, theme.dark),
        dash: run.dash,
        opacity: fade(run),
      };
      const beside = model.get("training_curve") ? values(run, shown.beside) : [];
      return [
        ...(beside.length
          ? [{ ...line, name: `${run.name}, training`, y: beside, width: 1, opacity: 0.55 * fade(run) }]
          : []),
        { ...line, name: run.name, y: values(run, shown.main), width: 2.5 },
      ];
    });
    weights.hidden = series.length === runs.length;
    const [low, high] = extent(series.flatMap(({ y }) => y));
    const margin = 0.05 * (high - low || 1);
    const floor = log
      ? Math.max(1e-8, low)
      : shown.share
        ? Math.max(0, low - margin)
        : Math.min(low, Math.max(0, low - margin));
    curves.update(
      theme,
      {
        label: `${shown.label} of ${runs.length} runs over ${epochs.length} epochs`,
        series,
        xTitle: "epoch",
        yTitle: shown.unit ? `${shown.label} (${shown.unit})` : shown.label,
        xRange: [epochs[0] - 0.4, epochs[epochs.length - 1] + 0.4],
        yRange: [floor, shown.share ? Math.min(1.01, high + margin) : high + margin],
        log,
        percent: shown.share,
        cursor: epoch,
      },
      frame.stage.clientWidth,
      frame.room(curves.node, 190, full ? Infinity : 500),
    );
    runs.forEach((run, k) => {
      const chip = /** @type {HTMLElement} */ (legend.children[k]);
      const [mark, , value] = /** @type {HTMLElement[]} */ ([...chip.children]);
      const fresh = swatch({ colour: ink(run, theme.dark), dash: run.dash });
      mark.style.cssText = fresh.style.cssText;
      const here = values(run, shown.main)[when];
      write(value, shown.share ? percent(here) : number(here));
      chip.setAttribute("aria-pressed", String(model.get("selection").run === run.name));
      chip.style.opacity = "";
    });

    const width = frame.inspector.clientWidth - (frame.root.hasAttribute("data-narrow") ? 0 : 18);
    const withBars = runs.filter((run) => run.per_class && when < run.epochs);
    barsTitle.hidden = bars.node.hidden = !withBars.length;
    write(barsTitle, `Accuracy per class at epoch ${epoch}`);
    if (withBars.length) {
      bars.update(
        theme,
        {
          label: `Accuracy per class at epoch ${epoch}: ${withBars.map((run) => `${run.name} ${classes.map((name, c) => `${name} ${percent(perClass(run, when)[c])}`).join(", ")}`).join("; ")}`,
          series: withBars.map((run) => ({
            kind: "bars",
            name: run.name,
            x: cutAll(classes),
            y: perClass(run, when),
            colour: ink(run, theme.dark),
            opacity: fade(run),
          })),
          xTitle: "class",
          yTitle: "accuracy",
          xRange: null,
          yRange: [0, 1],
          percent: true,
        },
        width,
        190,
      );
    }
    const judged = runs.filter((run) => run.calibration);
    believed.node.hidden = !judged.length;
    if (judged.length && believed.open()) {
      reliability.update(
        theme,
        {
          label: `Reliability diagram. ${judged.map((run) => `${run.name}: ECE ${number(run.calibration?.ece)}`).join("; ")}`,
          series: [
            {
              kind: "line",
              name: "perfectly calibrated",
              x: [0, 1],
              y: [0, 1],
              colour: theme.quiet,
              dash: [4, 4],
              width: 1.25,
              quiet: true,
            },
            ...judged.flatMap((run) => calibrationSeries(run, theme.dark)),
          ],
          xTitle: "confidence",
          yTitle: "accuracy",
          xRange: [-0.02, 1.02],
          yRange: [-0.04, 1.05],
          percent: true,
        },
        width,
        210,
      );
      fill(
        calibration,
        ...judged.flatMap((run) => [
          el("dt", {}, run.name),
          el("dd", {}, `ECE ${number(run.calibration?.ece)}, NLL ${number(run.calibration?.nll, 2)} nats`),
        ]),
      );
    }
    frame.bar.update();
    frame.bar.describe(model.get("title"), caption());
    frame.status.facts([
      `${runs.length} ${runs.length === 1 ? "run" : "runs"}`,
      ...runs.filter((run) => run.interrupted).map((run) => `${run.name} was stopped after epoch ${run.epochs}`),
    ]);
  });

  /**
   * @param {Run} run
   * @param {boolean} dark
   * @returns {import("../parts/chart.js").Series[]}
   */
  function calibrationSeries(run, dark) {
    const bins = /** @type {NonNullable<Run["calibration"]>} */ (run.calibration);
    const [confidence, accuracy, count] = [bins.confidence, bins.accuracy, bins.count].map(
      (name) => /** @type {number[]} */ (Array.from(/** @type {any} */ (tensor(model, name)).data)),
    );
    const kept = confidence.map((_, k) => k).filter((k) => count[k] > 0 && !Number.isNaN(accuracy[k]));
    const most = Math.max(1, ...count);
    const shared = {
      name: run.name,
      x: kept.map((k) => confidence[k]),
      y: kept.map((k) => accuracy[k]),
      colour: ink(run, dark),
      opacity: fade(run),
    };
    return [
      { ...shared, kind: "line", width: 1.25, dash: run.dash, quiet: true },
      {
        ...shared,
        kind: "points",
        sizes: kept.map((k) => 5 + 11 * Math.sqrt(count[k] / most)),
        hover: kept.map(
          (k) => `confidence ${percent(confidence[k])}, right ${percent(accuracy[k])}, ${count[k]} examples`,
        ),
      },
    ];
  }

  frame.watch(["content", "arrays", "selection", "metric", "training_curve", "logarithmic", "title"], () =>
    frame.invalidate(),
  );
  frame.invalidate();
  return () => frame.dispose();
}

export default { render };
