"""Samplers → samplers: diffusion teachers, few-step students, and what each believes the final image to be.

Along the teacher's path    `BOOT` (031), `Consistency`, `TSCD` (Hyper-SD, 044), `TDD` (071)
By scores                   `DMD`, `DPDMD` (091), `SiD` (114), `OneStep` (Hyper-SD, 044)
By rewards                  `Feedback` (Hyper-SD, 044)
The solver, not the model   `DODE`, `distill_solver` (093)
Base and student together   `hand_over`, `hybrid`, `slider` (096)

`methods` has a file for each; `making` runs them, `teachers` knows what is right, `sampling` has schedules and
samplers, `trajectories` keeps what a model believes on the way, `judging` compares samples.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
