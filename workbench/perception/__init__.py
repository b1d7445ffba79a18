"""Networks that perceive into smaller ones; of these, speech encoders so far. `distill` trains a student on a teacher's
layers; `pretrain` makes a teacher from sound alone; `student_of` copies a student out of it.

Speech        `DistilHuBERT` (the teacher's layers) `RobustDistiller` (the same, while the student hears noise)
Contamination `Contamination` (a case by chance) `mixed` (noise at an exact SNR) `reverberated` `room`
              `pink` `hum` `babble` (noises by seed)
Judging       `probe` (a linear head on frozen features) `drift` (how far features move under noise)

An encoder is made by `workbench.models.build("speech", data)`; sound is read by `workbench.data.load`.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
