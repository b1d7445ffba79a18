// DistilledImagesExplorer: what distilled images are, how they came to be, how sets differ; the other half:
// explorer.py.
//
// The parts beside the atlas (inspector.js, teaching.js) are given the frame and a `Lens`, see
// inspector.js: which set, iteration and images they are about. What is known beyond pixels is in the traits
// `findings` and `findings_arrays` (findings.py); they ask Python through `frame.requests.ask(name, details)`,
// which runs the function of that name in ACTIONS (actions.py).

import { createCourse } from "./timeline/course.js";
import { createData, MOMENT, NOTHING, SCORES, size } from "./data.js";
import { createHead } from "./atlas/head.js";
import { createInspector } from "./inspector/inspector.js";
import { createLens } from "./lens.js";
import { createSets } from "./atlas/sets.js";
import { createStage } from "./atlas/stage.js";
import { createTeaching } from "./teaching/teaching.js";
import { number } from "../parts/dom.js";
import { createFrame } from "../parts/frame.js";

/** @param {{ model: import("../parts/dom.js").Model, el: HTMLElement }} view */
function render({ model, el: host }) {
  const data = createData(model);
  const { content } = data;
  const frame = createFrame(
    { model, el: host },
    {
      name: "distilled-images",
      table,
      settings: [
        { trait: "sort", label: "Sort by", kind: "choice", inBar: true, choices: sortChoices },
        { trait: "against", label: "Compare with", kind: "choice", inBar: true, choices: againstChoices },
        {
          trait: "compare",
          label: "as",
          kind: "choice",
          inBar: true,
          choices: () =>
            model.get("against") === NOTHING
              ? []
              : ["side by side", "flicker", "difference"].map((value) => ({ value, label: value })),
        },
        { trait: "descending", label: "The largest first", kind: "switch" },
        {
          trait: "by_class",
          label: "Keep the images of a class together",
          kind: "switch",
          help: "Where images are sorted by a number",
        },
        {
          trait: "full_range",
          label: "Black to white span all values",
          kind: "switch",
          help: "Otherwise black is 0 and white is 1, and values beyond are clipped",
        },
        {
          trait: "curve",
          label: "Curve of the timeline",
          kind: "choice",
          choices: () => Object.keys(data.set().curves).map((value) => ({ value, label: value.replaceAll("_", " ") })),
        },
      ],
    },
  );
  frame.root.classList.add("dw-distilled");
  const stage = createStage(frame, data);
  const head = createHead(frame, data, stage);
  const sets = createSets(frame, data);
  frame.stage.append(head.node, stage.tabs, stage.node, sets.node);
  const lens = createLens(data, stage);
  const inspector = createInspector(frame, lens);
  const teaching = createTeaching(frame, lens);
  createCourse(frame, data);
  frame.bar.onDismiss(() => frame.select({ images: [] }));

  function sortChoices() {
    return [
      { value: "class", label: "class" },
      ...Object.keys(SCORES)
        .filter((name) => data.scores()[name] || name === model.get("sort"))
        .map((value) => ({ value, label: SCORES[value] })),
    ];
  }

  function againstChoices() {
    const { sets: all } = content();
    const kinds = new Set(all.flatMap(({ real }) => Object.keys(real)));
    const found = [
      NOTHING,
      ...(all.some(({ iterations }) => iterations.length > 1) ? [MOMENT] : []),
      ...(kinds.has("nearest") ? ["nearest real images"] : []),
      ...(kinds.has("start") ? ["real images they began as"] : []),
    ];
    return [
      ...found,
      ...all.map(({ name }) => name).filter((name) => name !== data.set().name || name === model.get("against")),
    ].map((value) => ({ value, label: value }));
  }

  frame.onDraw((theme) => {
    const width = frame.stage.clientWidth;
    const full = document.fullscreenElement === frame.root;
    head.update(theme);
    const tall = frame.room(stage.node, 180, full ? Infinity : 560);
    stage.update(theme, width, tall);
    sets.update();
    inspector.update(theme);
    teaching.update(theme);
    frame.bar.update();
    frame.bar.describe(model.get("title"), caption());
    frame.status.facts(facts());
  });

  function caption() {
    const one = data.set();
    const count = data.blocks().reduce((sum, block) => sum + block.rows.length, 0);
    const selected = data.selection().images.length;
    const [channels, height, across] = content().shape;
    const shape = `${across}×${height}${channels === 1 ? "" : channels === 3 ? " in colour" : ` of ${channels} channels`}`;
    return `${one.name} at iteration ${data.selection().iteration.toLocaleString("en")}: ${count.toLocaleString("en")} images ${shape} of ${content().classes.length} classes${selected ? `, ${selected.toLocaleString("en")} selected` : ""}`;
  }

  /** What the numbers rest on. */
  function facts() {
    const one = data.set();
    const there = data.there();
    const short = there ? one.count - data.paired(there) : 0;
    const clipped = one.low < 0 || one.high > 1;
    return [
      `${one.soft ? "soft" : "hard"} labels`,
      size(one.bytes),
      one.seconds ? `${number(one.seconds, 1)} s on ${one.device}` : "",
      one.interrupted ? `interrupted after iteration ${one.iterations_done.toLocaleString("en")}` : "",
      one.left_out ? `${one.left_out} moments left out: they take too much room` : "",
      clipped
        ? `raw values ${number(one.low, 2)} to ${number(one.high, 2)}, sent in 256 steps${model.get("full_range") ? "" : "; beyond 0 to 1 they are clipped"}`
        : "",
      short ? `${short} images have no partner` : "",
    ];
  }

  /** What is seen, as numbers; the same columns as `.data()` in Python.
   * @returns {import("../parts/frame.js").Table} */
  function table() {
    const one = data.set();
    const chosen = new Set(data.selection().images);
    const scores = Object.entries(data.scores());
    const names = content().classes;
    const [here, there] = [data.here(), data.there()];
    return {
      columns: [
        "set",
        "iteration",
        "image",
        "class",
        "selected",
        ...scores.map(([name]) => name),
        ...(one.soft ? names.map((name) => `label[${name}]`) : []),
        ...(there ? ["difference", "distance"] : []),
      ],
      rows: data
        .blocks()
        .flatMap(({ rows }) =>
          rows.map((row) => [
            one.name,
            data.selection().iteration,
            row,
            names[data.labels()[row]],
            chosen.has(row) ? "yes" : "no",
            ...scores.map(([, score]) => score[row]),
            ...(data.labelAt(row) ?? []),
            ...(there ? (data.apart(here, there, row) ?? [null, null]) : []),
          ]),
        ),
    };
  }

  frame.watch(
    [
      "content",
      "arrays",
      "findings",
      "selection",
      "sort",
      "descending",
      "by_class",
      "classes",
      "against",
      "compare",
      "full_range",
      "curve",
      "panel",
      "title",
    ],
    () => frame.invalidate(),
  );
  frame.invalidate();
  return () => frame.dispose();
}

export default { render };
