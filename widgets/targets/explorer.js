// TargetTrajectoryExplorer: what each model believes the final image to be, step by step; the other half: explorer.py.
//
// Where parts plug in. Each is a function of the frame (parts/frame.js) and the scene (scene.js: which runs, step and
// seeds are shown, their pictures and places), is created once, and is told to `update` at every drawing:
//
//   createPlane, createStrip    the two views of the stage, in tabs; nodes of their own
//   createHandOver(…)           hand_over.js: the third tab { node, available(), update(theme, width, tall) }; the tab is
//                               there while available() is true; `selection.switch` is its place
//   createControls(…)           controls.js: { node, update(theme) } under the stage, above the curves
//   createInspector(…)          inspector.js: { update(theme) }; fills frame.inspector
//   createCurves, createCourse  small plots under the stage, and the timeline
//
// Python's side of the panels is panel.py (traits: PanelTraits, PANEL_SETTINGS, PANEL_STATE) and actions.py (ACTIONS: what
// `frame.requests.ask(name, details)` runs). What they compute goes into traits of their own with arrays in a trait
// whose name ends in `_arrays`; new runs go into the explorer by its method `show_runs`. A click into an empty place of a
// plane asks for "launch" with { point: [x, y], time } where `offer.launch` is true; the answer is `launches`:
//   { launches: [{ point: [x, y], time, runs: [{ run: name, states: array, targets: array }] }] }
// arrays float32 (steps + 1, 2) in the plane's coordinates, the sample last; the plane draws them all.

import { createControls } from "./controls.js";
import { createHandOver } from "./hand_over.js";
import { createInspector } from "./inspector.js";
import { createScene } from "./scene.js";
import { createFrame } from "../parts/frame.js";
import { createTimeline } from "../parts/timeline.js";

/** @param {{ model: import("../parts/dom.js").Model, el: HTMLElement }} view */
function render({ model, el: host }) {
  const frame = createFrame({ model, el: host }, { name: "diffusion-targets", table: () => ({ columns: [], rows: [] }), settings: [] });
  frame.root.classList.add("dw-targets");
  const scene = createScene(frame);
  const handOver = createHandOver(frame, scene);
  const controls = createControls(frame, scene);
  const inspector = createInspector(frame, scene);
  frame.stage.append(handOver.node, controls.node);
  createTimeline(frame, {
    unit: "step",
    positions: scene.positions,
    get: scene.position,
    set: scene.go,
    curves: () => [],
  });
  frame.bar.onDismiss(() => scene.pin([]));
  frame.onDraw((theme) => {
    handOver.update(theme, frame.stage.clientWidth, 480);
    controls.update(theme);
    inspector.update(theme);
    frame.bar.update();
    frame.bar.describe(model.get("title"), "");
  });
  frame.watch(["content", "arrays", "selection", "title", "view", "offer", "launches", "hand_over"], () => frame.invalidate());
  frame.invalidate();
  return () => frame.dispose();
}

export default { render };
