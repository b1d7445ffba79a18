"""Instructions with one right answer: sums, lists to be reversed and words to be put into the plural, by seed."""

import random

import torch

from workbench.data.dataset import Dataset
from workbench.data.sampling import DataError
from workbench.data.text import from_pairs
from workbench.data.vocabulary import Vocabulary

LETTERS = "abcdefghijklmnopqrstuvwxyz"
VOCABULARY = Vocabulary.of([LETTERS + "0123456789+>:"])
TASKS = ("add", "reverse", "plural")
_CONSONANTS, _VOWELS = "bdgklmnprt", "aeiou"


def instructions(
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    n_train: int = 1000,
    n_test: int = 300,
    tasks: tuple[str, ...] = TASKS,
    letters: int = 4,
    numbers: int = 50,
) -> Dataset:
    """Short instructions and their answers, none twice; whether an answer is right can be checked by comparing it.

    ``a:17+25>`` is followed by ``42``, ``r:dcab>`` by ``bacd``, and ``p:box>`` by ``boxes``.

    Parameters
    ----------
    seed
        Of the examples and of the split.
    n_train, n_test
        Examples, the tasks in turn.
    tasks
        Some of ``"add"``, ``"reverse"``, ``"plural"``.
    letters
        Of the longest list to reverse, 3 to 10; the shortest has 3. As many in it are drawn from the first eight
        letters of the alphabet.
    numbers
        Summands lie in 0..numbers − 1; 10 to 500.

    Raises
    ------
    DataError
        An argument out of its range; more examples asked for than there are.

    Examples
    --------
    >>> data = instructions(n_train=60, n_test=6)
    >>> data
    Dataset('instructions', 60 train + 6 test × 8×7, text, cpu)
    >>> answer("r:dcab>"), answer("p:lady>"), answer("a:9+8>")
    ('bacd', 'ladies', '17')
    """
    if not tasks or set(tasks) - set(TASKS):
        raise DataError(f"tasks={tasks!r} must be some of {', '.join(TASKS)}")
    if not 3 <= letters <= 10 or not 10 <= numbers <= 500 or n_train < 1 or n_test < 1:
        raise DataError(
            f"letters={letters} must be in 3..10, numbers={numbers} in 10..500, n_train={n_train} and n_test={n_test} "
            "at least 1"
        )
    draw = random.Random(seed)  # noqa: S311 - examples, no secrets
    found: dict[str, str] = {}
    wanted, tried = n_train + n_test, 0
    while len(found) < wanted:
        tried += 1
        if tried > 100 * wanted:
            raise DataError(
                f"n_train + n_test = {wanted}, but there are hardly more than {len(found)} such examples: raise "
                "letters or numbers, or ask for fewer"
            )
        prompt = _prompt(tasks[len(found) % len(tasks)], draw, letters, numbers)
        found.setdefault(prompt, answer(prompt))
    pairs = list(found.items())
    draw.shuffle(pairs)
    return from_pairs("instructions", pairs[:n_train], pairs[n_train:], vocabulary=VOCABULARY, device=device)


def answer(prompt: str) -> str:
    """The right answer to an instruction."""
    kind, content = prompt[0], prompt[2:-1]
    if kind == "a":
        return str(sum(map(int, content.split("+"))))
    if kind == "r":
        return content[::-1]
    if content[-1] in "sxz":
        return content + "es"
    if content[-1] == "y":
        return content[:-1] + "ies"
    return content + "s"


def _prompt(task: str, draw: random.Random, letters: int, numbers: int) -> str:
    if task == "add":
        return f"a:{draw.randrange(numbers)}+{draw.randrange(numbers)}>"
    if task == "reverse":
        return f"r:{''.join(draw.choices(LETTERS[:8], k=draw.randint(3, letters)))}>"
    stem = "".join(draw.choice(_CONSONANTS) + draw.choice(_VOWELS) for _ in range(draw.randint(1, 2)))
    return f"p:{(stem + draw.choice('kntsxzy'))[-4:]}>"
