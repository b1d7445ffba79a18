"""Datasets → datasets: a data set distilled into a few images, how they came to be, and what they teach.

Trajectories of training    `DD` (021), `MTT` (019), `FTD` (028)
Gradients                   `GradientMatching` (DC; with `Siamese` augmentation DSA), `idc`
Distributions               `DistributionMatching` (DM), `DataDAM` (040), `NCFM` (036)
Around any of these         `DREAM` (059), `FYI` (086), `MDT` (112)
Chosen, not optimised       `RDED` (011), `RandomCrops`; `Random` `Herding` `KCentre` `Forgetting` `EL2N` `ClassMeans`
Used for                    `masked_temperature`, `calibrate` (MTS, 112); looked into by the probes of 009

`methods` has a file for each; `making` runs them, `trajectories` holds experts, `judging` says what a set teaches,
`files` reads and writes those of others.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
