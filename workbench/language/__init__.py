"""Language models into language models. `distill` trains a student on what a teacher says of sequences;
`finetune` trains one on the sequences alone.

On the data       `SFT` (labels) `KD` (any divergence, token by token) `SeqKD` (what the teacher writes)
On the student's  `ImitKD` (always) `GKD` (a share of the steps) `DistiLLM` (when validation asks, each many times)

Any causal model of `transformers` can be teacher or student; `workbench.models.build("lm", data)` makes a small one.
`judge` says how good a model's answers are, `rouge_l` how near one text is to another.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
