// What is measured of a run at each of its steps, in words; measures.py computes it.

/** @type {Record<string, { label: string, title: string, help: string, range?: [number, number], log?: boolean, percent?: boolean }>} */
export const MEASURES = {
  commitment: { label: "commitment", title: "commitment", help: "1 − E‖x̂₀ − sample‖² / (2 tr Var sample): how much of the sample is decided; ½ when x̂₀ is still the mean", percent: true },
  spread: { label: "spread of x̂₀ over seeds", title: "spread of x̂₀ over seeds", help: "Trace of the variance of x̂₀ over seeds" },
  distance: { label: "distance of x̂₀ to the sample", title: "distance of x̂₀ to the sample", help: "Mean of ‖x̂₀ − sample‖ over seeds" },
  turning: { label: "turn of ε̂ to the next step", title: "turn of ε̂ to the next step, °", help: "Mean angle between one predicted noise and the next: where nothing turns, the path is straight" },
  error: { label: "error of the step", title: "error of the step", help: "Mean distance of the state after the step to the exact solution of the same step", log: true },
};
