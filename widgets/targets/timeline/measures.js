// What is measured of a run at each of its steps, in words; measures.py computes it.

/** @type {Record<string, { label: string, title: string, help: string, log?: boolean, percent?: boolean }>} */
export const MEASURES = {
  commitment: {
    label: "commitment",
    title: "commitment",
    help: "1 − E‖x̂₀ − sample‖² / (2 tr Var sample): how much of the sample is decided; ½ while x̂₀ is the mean",
    percent: true,
  },
  spread: {
    label: "spread of x̂₀ over seeds",
    title: "spread of x̂₀ over seeds",
    help: "Trace of the variance of x̂₀ over seeds",
  },
  distance: {
    label: "distance of x̂₀ to the sample",
    title: "distance of x̂₀ to the sample",
    help: "Mean of ‖x̂₀ − sample‖ over seeds",
  },
  curvature: {
    label: "curvature of the path",
    title: "curvature of the path",
    help: "‖d(ε̂ − x̂₀)/dτ‖ on rectified flow, mean over seeds: 0 where the path is straight, and one step would do",
  },
  error: {
    label: "error of the step",
    title: "error of the step",
    help: "Distance of the state after the step to the exact flow from the state before it, root mean square over seeds",
    log: true,
  },
  drift: {
    label: "distance to the exact path",
    title: "distance to the exact path",
    help: "Distance of the state after the step to the exact flow from the first state, root mean square over seeds",
    log: true,
  },
};
