"""Clients' classifiers into one another, over a channel whose bytes are counted: no weights and, but for donations, no
data cross it.

What a client speaks for    `EdgeFD` (045: points near its own centroids), `SelectiveFD` (by a ratio of densities)
Baselines                   `FedMD` (everything), `OwnDonations` (what it donated)

`federate` runs rounds among clients of any networks; `by_label` and `dirichlet` part data among them; `donate` makes a
proxy set; `Channel` counts.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
