// TargetTrajectoryExplorer: what each model believes the final image to be, step by step; the other half: explorer.py.
//
// Where parts plug in. Each is a function of the frame (parts/frame.js) and the scene (scene.js: which runs, step and
// seeds are shown, their pictures and places), is created once, and is told to `update` at every drawing:
//
//   createPlane, createStrip    the two views of the stage, in tabs; nodes of their own
//   createHandOver(…)           hand_over.js: the third tab { node, available(), update(theme, width, tall) }; the tab
// is
//                               there while available() is true; `selection.switch` is its place
//   createControls(…)           controls.js: { node, update(theme) } under the views and their curves
//   createInspector(…)          inspector.js: { update(theme) }; fills frame.inspector
//   createCurves, createCourse  small plots under the stage, and the timeline
//
// Python's side of the panels is panel.py (traits: PanelTraits, PANEL_STATE) and actions.py (ACTIONS:
// what `frame.requests.ask(name, details)` runs). What they compute goes into traits of their own with arrays in a
// trait whose name ends in `_arrays`; new runs go into the explorer by its method `show_runs`. A click into an empty
// place of a plane asks for "launch" with { noise: [x, y] } (standard normal, before any schedule scales it), the key
// "n" with { noise: null } for fresh noise, both where `offer.launch` is true; the answer is the trait `launches`:
//   { launches: [{ noise: [x, y], runs: [{ run: name, states: array, targets: array }] }] }
// arrays float32 (steps + 1, 2) in the plane's coordinates, the sample last; the plane draws them all.

import { createControls } from "./controls/controls.js";
import { createCourse, createCurves } from "./timeline/curves.js";
import { createHandOver } from "./hand_over/hand_over.js";
import { createHead } from "./controls/head.js";
import { createInspector } from "./inspector/inspector.js";
import { createPlane } from "./stage/plane.js";
import { createScene } from "./scene.js";
import { createStrip } from "./stage/strip.js";
import { el, number } from "../parts/dom.js";
import { createFold } from "../parts/fold.js";
import { createFrame } from "../parts/frame.js";
import { MEASURES } from "./timeline/measures.js";

/** @param {{ model: import("../parts/dom.js").Model, el: HTMLElement }} view */
function render({ model, el: host }) {
  const content = () => /** @type {import("./content.js").Content} */ (model.get("content"));
  const several = () => content().runs.length > 1;
  const inPlane = () => model.get("view") === "plane";
  const inHandOver = () => model.get("view") === "hand-over" && Boolean(model.get("hand_over")?.steps);
  const inStrip = () => model.get("view") === "strip" && content().kind === "images";
  const choices = (/** @type {boolean} */ there, /** @type {[string, string][]} */ ...list) =>
    there ? list.map(([value, label]) => ({ value, label })) : [];
  const frame = createFrame(
    { model, el: host },
    {
      name: "diffusion-targets",
      table,
      settings: [
        {
          trait: "show",
          label: "Points are",
          kind: "choice",
          inBar: true,
          choices: () => choices(inPlane(), ["targets", "targets x̂₀"], ["states", "states x_t"]),
        },
        {
          trait: "arrange",
          label: "Runs",
          kind: "choice",
          inBar: true,
          choices: () => choices(inPlane() && several(), ["side by side", "side by side"], ["together", "together"]),
        },
        {
          trait: "field",
          label: "Field",
          kind: "choice",
          inBar: true,
          choices: () =>
            choices(
              inPlane() && Object.keys(content().ground.fields).length > 0,
              ["nothing", "none"],
              ["velocity", "velocity"],
              ["score", "score"],
            ),
        },
        {
          trait: "colour",
          label: "Colour",
          kind: "choice",
          inBar: true,
          choices: () =>
            choices(inPlane() && content().condition !== null, ["model", "by model"], ["class", "by class"]),
        },
        {
          trait: "rows",
          label: "Seeds",
          kind: "choice",
          inBar: true,
          choices: () =>
            choices(
              inStrip(),
              .../** @type {[string, string][]} */ (
                [...new Set([1, 2, 4, 8, 16, 32, model.get("rows")])]
                  .sort((a, b) => a - b)
                  .filter((k) => k <= Math.max(content().count, model.get("rows")))
                  .map((k) => [String(k), String(k)])
              ),
            ),
          save: (value) => frame.save({ rows: Number(value) }),
        },
        {
          trait: "curve",
          label: "Curve of the timeline",
          kind: "choice",
          choices: () =>
            Object.entries(MEASURES)
              .filter(([name]) => scene.has(name))
              .map(([value, { label }]) => ({ value, label })),
        },
        {
          trait: "density",
          label: "Shade the plane by density",
          kind: "switch",
          help: "Of the data under targets, of as noisy data under states",
        },
        { trait: "paths", label: "Draw the paths of selected seeds", kind: "switch" },
        { trait: "ghost", label: "Show the noisy state under each target", kind: "switch", help: "In the strip" },
        {
          trait: "all_steps",
          label: "Show every step in the strip",
          kind: "switch",
          help: "However small the pictures become",
        },
      ],
    },
  );
  frame.root.classList.add("dw-targets");
  const scene = createScene(frame);
  const views = {
    plane: createPlane(frame, scene),
    strip: createStrip(frame, scene),
    "hand-over": createHandOver(frame, scene),
  };
  const head = createHead(frame, scene, () => views["hand-over"].available());
  const controls = createControls(frame, scene);
  const inspector = createInspector(frame, scene);
  const curves = createCurves(frame, scene);
  const shown = el("div", { class: "dw-shown" }, ...Object.values(views).map(({ node }) => node));
  const both = el("div", { class: "dw-scene" }, shown);
  const below = createFold(frame, { name: "curves", title: "Measured at each step" });
  frame.stage.append(head.node, both, below.node, controls.node);
  createCourse(frame, scene);
  frame.bar.onDismiss(() => scene.pin([]));

  frame.onDraw((theme) => {
    const width = frame.stage.clientWidth;
    const full = document.fullscreenElement === frame.root;
    const now = /** @type {keyof typeof views} */ (model.get("view"));
    head.update(theme);
    for (const [name, view] of Object.entries(views)) view.node.hidden = name !== now;
    const most = full ? Infinity : 520;
    // One plane is square: where the stage is wide, the curves stand beside it.
    const beside = now === "plane" && (!several() || model.get("arrange") === "together") && width > 560;
    both.toggleAttribute("data-beside", beside);
    views[now].update(theme, width, most);
    // Beside the only plane they have their own room; below, they are behind a line.
    if (curves.node.parentElement !== (beside ? both : below.body)) (beside ? both : below.body).append(curves.node);
    below.node.hidden = beside || now === "hand-over"; // a hand-over is swept over switches, not over steps
    curves.node.hidden = now === "hand-over";
    if (beside || below.open()) curves.update(theme, beside);
    controls.update(theme);
    inspector.update(theme);
    frame.bar.update();
    frame.bar.describe(model.get("title"), caption());
    frame.status.facts(facts());
  });

  function caption() {
    if (inHandOver()) return views["hand-over"].caption();
    const { count, kind, shape } = content();
    const what = kind === "images" ? `images ${shape[2]}×${shape[1]}` : `${shape.join("×")}-dimensional points`;
    const pinned = scene.seeds().length;
    return `${scene
      .runs()
      .map((one) => `${one.name}: ${scene.when(one)}`)
      .join(
        "; ",
      )}. ${count.toLocaleString("en")} ${count === 1 ? "seed" : "seeds"}, ${what}${pinned ? `, ${pinned.toLocaleString("en")} selected` : ""}`;
  }

  /** What the numbers rest on. */
  function facts() {
    const { runs, count, pictured, kind, same } = content();
    return [
      ...runs.map(
        (one) =>
          `${one.name}: ${one.sampler}, ${one.calls} ${one.calls === 1 ? "call" : "calls"} per seed${one.guidance === 1 ? "" : `, guidance ${number(one.guidance, 1)}`}`,
      ),
      [...new Set(runs.map(({ schedule }) => schedule))].join(", "),
      runs.length > 1 && !same ? "the runs began from different noise" : "",
      kind === "images" && pictured < count ? `pictures of the first ${pictured.toLocaleString("en")} seeds` : "",
    ];
  }

  /** What is seen, as numbers; the same columns as `.data()` in Python.
   * @returns {import("../parts/frame.js").Table} */
  function table() {
    if (inHandOver()) return views["hand-over"].table();
    const { count, condition, classes } = content();
    const chosen = new Set(scene.seeds());
    const named = condition !== null && classes.length > 0;
    return {
      columns: [
        "run",
        "step",
        "time",
        "seed",
        ...(named ? ["class"] : []),
        "selected",
        "x",
        "y",
        "target_x",
        "target_y",
        "distance",
      ],
      rows: scene.runs().flatMap((one) => {
        const index = scene.indexOf(one);
        const [states, targets] = [scene.cloud(one, "states", index), scene.cloud(one, "targets", index)];
        const apart = scene.apart(one, index);
        const step = index >= one.steps ? "sample" : index + 1;
        const time = index >= one.steps ? 0 : one.times[index];
        return Array.from({ length: count }, (_, seed) => [
          one.name,
          step,
          time,
          seed,
          ...(named ? [scene.className(seed)] : []),
          chosen.has(seed) ? "yes" : "no",
          states[2 * seed],
          states[2 * seed + 1],
          targets[2 * seed],
          targets[2 * seed + 1],
          apart[seed],
        ]);
      }),
    };
  }

  frame.watch(
    [
      "content",
      "arrays",
      "selection",
      "title",
      "view",
      "show",
      "arrange",
      "field",
      "density",
      "colour",
      "paths",
      "rows",
      "ghost",
      "all_steps",
      "curve",
      "curves",
      "measurable",
      "offer",
      "launches",
      "hand_over",
    ],
    () => frame.invalidate(),
  );
  frame.invalidate();
  return () => frame.dispose();
}

export default { render };
