"""Text to learn from: what is given and what follows it, as token ids; from a file, a folder, or pairs of texts."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from workbench.data.dataset import Dataset, Split
from workbench.data.sampling import DataError, random_order
from workbench.data.vocabulary import END, PAD, Vocabulary

SUFFIXES = (".txt", ".text", ".md")
"""Of the files that are read as text."""

NONE = Vocabulary(())


@dataclass(frozen=True, eq=False, repr=False)
class TextSplit(Split):
    """Prompts and the responses that follow them.

    Attributes
    ----------
    inputs
        Prompts, token ids, int64, shape (n, prompt): padded on the left, so that all end at the same place.
    labels
        Responses, token ids, int64, shape (n, response): padded on the right. What is no padding is learned.
    vocabulary
        What the ids stand for.

    Examples
    --------
    >>> pairs = from_pairs("pairs", [("3+4=", "7"), ("10+2=", "12")], [("1+1=", "2")])
    >>> pairs
    Dataset('pairs', 2 train + 1 test × 5×3, text, cpu)
    >>> pairs.train.prompts(), pairs.train.responses()
    (['3+4=', '10+2='], ['7', '12'])
    """

    vocabulary: Vocabulary = NONE

    def __post_init__(self) -> None:
        if self.index is None:
            object.__setattr__(self, "index", torch.arange(len(self.inputs)))
        if not len(self.inputs) == len(self.labels) == len(self.index):
            raise DataError(
                f"prompts, responses and index differ in length: {len(self.inputs)}, {len(self.labels)}, "
                f"{len(self.index)}"
            )
        for what, ids in (("inputs", self.inputs), ("labels", self.labels)):
            if ids.ndim != 2 or ids.dtype != torch.int64 or not ids.shape[1]:
                raise DataError(
                    f"{what} are {ids.dtype} of shape {tuple(ids.shape)}; token ids, int64 (n, tokens), are needed"
                )
            if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < len(self.vocabulary):
                raise DataError(
                    f"{what} hold ids from {int(ids.min())} to {int(ids.max())}; the vocabulary has 0 to "
                    f"{len(self.vocabulary) - 1}"
                )
        if (empty := (self.labels == PAD).all(1)).any():
            raise DataError(f"row {int(empty.nonzero()[0])} has an empty response: there is nothing to learn from it")

    @classmethod
    def of(cls, prompts: Tensor, responses: Tensor, vocabulary: Vocabulary, index: Tensor | None = None) -> Self:
        """From token ids, as the attributes have them."""
        none = torch.zeros(0)
        return cls(prompts, responses, (), none, none, index, vocabulary=vocabulary)  # type: ignore[arg-type]  # filled in

    @property
    def shape(self) -> tuple[int, ...]:
        """Tokens of a prompt and of a response."""
        return (self.inputs.shape[1], self.labels.shape[1])

    @property
    def task(self) -> str:
        return "text"

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:  # noqa: ARG002
        """The same on another device; token ids have no floating point type."""
        return super().to(device)

    def subset(self, n: int, seed: int = 0) -> Self:
        """`n` examples in source order; a smaller subset of the same seed is part of a larger one."""
        if not 0 < n <= len(self):
            raise DataError(f"n={n} must be in 1..{len(self)}, the number of examples")
        return self.take(random_order(len(self), seed)[:n].sort().values)

    def prompts(self) -> list[str]:
        """The prompts as they read."""
        return [self.vocabulary.decode(ids) for ids in self.inputs.tolist()]

    def responses(self) -> list[str]:
        """The responses as they read, without their end."""
        return [self.vocabulary.decode(ids) for ids in self.labels.tolist()]


def from_pairs(
    name: str,
    train: Sequence[tuple[str, str]],
    test: Sequence[tuple[str, str]],
    *,
    vocabulary: Vocabulary | None = None,
    device: torch.device | str = "cpu",
) -> Dataset:
    """A dataset of prompts with their responses; each response gets an end.

    Parameters
    ----------
    train, test
        Pairs (prompt, response), neither empty.
    vocabulary
        None: the characters that occur.

    Raises
    ------
    DataError
        A prompt or response is empty, or has a character that the vocabulary lacks.
    """
    for part, pairs in (("train", train), ("test", test)):
        for row, (prompt, response) in enumerate(pairs):
            if not prompt or not response:
                raise DataError(f"{part} row {row} has an empty {'response' if prompt else 'prompt'}")
    everything = [*train, *test]
    known = vocabulary or Vocabulary.of([text for pair in everything for text in pair])
    before = max(len(prompt) for prompt, _ in everything)
    after = max(len(response) for _, response in everything) + 1

    def split(pairs: Sequence[tuple[str, str]]) -> TextSplit:
        prompts = [known.encode(prompt) for prompt, _ in pairs]
        responses = [[*known.encode(response), END] for _, response in pairs]
        return TextSplit.of(
            torch.tensor([[PAD] * (before - len(ids)) + ids for ids in prompts]),
            torch.tensor([ids + [PAD] * (after - len(ids)) for ids in responses]),
            known,
        )

    return Dataset(name, split(train), split(test)).to(device)


def text(
    path: str | os.PathLike,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    prompt: int = 16,
    response: int = 48,
    test_fraction: float = 0.1,
    most: int | None = None,
) -> Dataset:
    """Your own text in pieces: how each begins, and how it goes on.

    Parameters
    ----------
    path
        A text file (UTF-8), or a folder of them (.txt, .text, .md), read in the order of their names.
    seed
        Of the pieces that are held out. They are whole stretches of the text, so that nothing of them is trained on.
    prompt, response
        Characters given, and characters that follow, per piece.
    test_fraction
        Share of the pieces held out, between 0 and 1.
    most
        At most so many pieces, from the beginning; None: all.

    Returns
    -------
    Dataset
        Of `TextSplit`; the vocabulary is that of the characters that occur. ``index`` is the piece's number.

    Raises
    ------
    DataError
        No such file, none with text, not UTF-8, or too short for two pieces.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "poem.txt"
    >>> _ = file.write_text("the sea, the sea, the open sea! " * 20)
    >>> text(file)
    Dataset('poem', 9 train + 1 test × 16×48, text, cpu)
    """
    where = Path(path).expanduser()
    files = sorted(one for one in where.rglob("*") if one.suffix.lower() in SUFFIXES) if where.is_dir() else [where]
    if not files:
        raise DataError(f"{where} holds no text file ({', '.join(SUFFIXES)})")
    return pieces(
        "\n".join(_read(file) for file in files), where.stem, seed=seed, device=device, prompt=prompt,
        response=response, test_fraction=test_fraction, most=most,
    )  # fmt: skip


def pieces(
    whole: str,
    name: str,
    *,
    seed: int,
    device: torch.device | str,
    prompt: int,
    response: int,
    test_fraction: float,
    most: int | None = None,
) -> Dataset:
    """A text cut into pieces; arguments as for `text`."""
    if prompt < 1 or response < 1 or not 0 < test_fraction < 1:
        raise DataError(
            f"prompt={prompt}, response={response} and test_fraction={test_fraction}: both lengths are at least 1, and "
            "the share lies between 0 and 1"
        )
    length = prompt + response
    count = len(whole) // length if most is None else min(most, len(whole) // length)
    if count < 2:
        raise DataError(
            f"{name} has {len(whole)} characters; two pieces of {length} (prompt={prompt} + response={response}) are "
            "needed at least"
        )
    vocabulary = Vocabulary.of([whole[: count * length]])
    ids = torch.tensor(vocabulary.encode(whole[: count * length])).view(count, length)
    held = min(max(1, round(test_fraction * count)), count - 1)
    order = random_order(count, seed)
    rows = (order[held:].sort().values, order[:held].sort().values)
    train, test = (TextSplit.of(ids[some, :prompt], ids[some, prompt:], vocabulary, some) for some in rows)
    return Dataset(name, train, test).to(device)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"there is no file {file}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 text: byte {error.start} cannot be read") from None
