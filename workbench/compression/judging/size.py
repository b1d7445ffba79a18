"""How many bits a quantised network takes: indices of levels, α and β of each bucket, and the levels where learned.

    QD: N b + 2 f ⌈N / k⌉,   DQ: f s more per tensor;   f = 32, and 32 bits for each parameter that is not quantised

Huffman coding of the indices takes a further step: a mean code length in [H, H + 1) bits for an index entropy H.
Paper 046.
"""

import heapq
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from workbench.compression.making.placing import placed
from workbench.compression.making.quantising import assigned, scale

FLOAT = 32
"""f, bits of a number in full precision."""


@dataclass(frozen=True)
class Size:
    """Bits of a network: with indices of equal length, with Huffman's code for them, and in full precision."""

    bits: int
    huffman: int
    full: int


def size(network: nn.Module) -> Size:
    """Of a network with quantisers in place (`making.placing.place`); without any all three are 32 bits a parameter."""
    quantised = 0
    bits = huffman = levels = 0
    for _, quantiser, v in placed(network):
        p = getattr(quantiser, "p", None)
        s = int(quantiser.s) if p is None else len(p)  # type: ignore[arg-type]
        bucket = quantiser.bucket
        assert bucket is None or isinstance(bucket, int)
        fixed = tensor_bits(v.numel(), s, bucket, learned=p is not None) - v.numel() * index_bits(s)
        codes = indices(v.detach(), s, bucket, p)
        quantised += v.numel()
        levels += 0 if p is None else len(p)
        bits += fixed + v.numel() * index_bits(s)
        huffman += fixed + coded_bits(codes.tolist())
    total = sum(value.numel() for value in network.parameters()) - levels
    rest = FLOAT * (total - quantised)
    return Size(bits + rest, huffman + rest, FLOAT * total)


def tensor_bits(N: int, s: int, bucket: int | None, *, learned: bool = False) -> int:
    """Bits of a tensor of N weights on s levels.

    Examples
    --------
    >>> tensor_bits(100, 4, 64), tensor_bits(100, 4, 64, learned=True)
    (328, 456)
    """
    buckets = 1 if bucket is None else math.ceil(N / bucket)
    return N * index_bits(s) + 2 * FLOAT * buckets + (FLOAT * s if learned else 0)


def index_bits(s: int) -> int:
    """b, of an index among s levels: ⌈log2 s⌉."""
    return (s - 1).bit_length()


def indices(v: Tensor, s: int, bucket: int | None, p: Tensor | None = None) -> Tensor:
    """Level of each weight, 0..s − 1, shape (N,): of s equally spaced levels, or of `p`."""
    v_hat = scale(v, bucket).v_hat.flatten()[: v.numel()]
    return (v_hat * (s - 1)).round().long() if p is None else assigned(v_hat, p.detach())


def code_lengths(symbols: Sequence[int]) -> dict[int, int]:
    """Bits of each symbol in Huffman's code for a sequence; one symbol alone takes 1.

    Examples
    --------
    >>> code_lengths([0, 0, 0, 0, 1, 1, 2, 3])
    {0: 1, 1: 2, 2: 3, 3: 3}
    """
    counts = Counter(symbols)
    if not counts:
        raise ValueError("symbols is empty: there is nothing to code")
    if len(counts) == 1:
        return dict.fromkeys(counts, 1)
    lengths = dict.fromkeys(sorted(counts), 0)
    heap: list[tuple[int, int, tuple[int, ...]]] = [(count, symbol, (symbol,)) for symbol, count in counts.items()]
    heapq.heapify(heap)
    while len(heap) > 1:
        (a, first, left), (b, _, right) = heapq.heappop(heap), heapq.heappop(heap)
        for symbol in left + right:
            lengths[symbol] += 1
        heapq.heappush(heap, (a + b, first, left + right))
    return lengths


def coded_bits(symbols: Sequence[int]) -> int:
    """Bits of a sequence in Huffman's code, without its table.

    Examples
    --------
    >>> coded_bits([0, 0, 0, 0, 1, 1, 2, 3])
    14
    """
    lengths = code_lengths(symbols)
    return sum(lengths[symbol] for symbol in symbols)
