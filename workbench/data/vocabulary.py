"""Which number stands for which piece of text: a vocabulary of characters, with padding and the end of an answer."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from workbench.data.sampling import DataError

PAD, END = 0, 1
"""Token ids of padding and of the end of an answer, in every vocabulary that is made here."""


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by their ids; id 0 is padding, id 1 ends an answer, the others are characters.

    Attributes
    ----------
    tokens
        All of them in the order of their ids.

    Examples
    --------
    >>> letters = Vocabulary.of(["abba", "cab"])
    >>> letters.encode("cab"), letters.decode([2, 3, 1, 0])
    ([4, 2, 3], 'ab')
    """

    tokens: tuple[str, ...]

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Vocabulary":
        """All characters that occur in the texts, in the order of their code points."""
        return cls(("<pad>", "<end>", *sorted(set().union(*texts))))

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str) -> list[int]:
        """Ids of the characters.

        Raises
        ------
        DataError
            Names the character that is not in the vocabulary, and where it stands.
        """
        ids = {token: number for number, token in enumerate(self.tokens)}
        try:
            return [ids[character] for character in text]
        except KeyError as error:
            missing = error.args[0]
            raise DataError(
                f"character {missing!r} (position {text.index(missing)}) is not among the {len(self) - 2} characters "
                "of the vocabulary"
            ) from None

    def decode(self, ids: Sequence[int]) -> str:
        """The text up to the first end; padding is left out."""
        end = next((at for at, number in enumerate(ids) if number == END), len(ids))
        return "".join(self.tokens[number] for number in ids[:end] if number != PAD)
