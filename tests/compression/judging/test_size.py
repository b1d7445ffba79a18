"""Bits of a quantised network, and Huffman's code."""

import math
from collections import Counter

import pytest
import torch

import workbench as wb
from workbench.compression import DQ, PM, code_lengths, coded_bits, compress
from workbench.compression.judging.size import index_bits, tensor_bits


@pytest.mark.parametrize("s", [2, 4, 8, 16])
def test_huffman_lies_within_a_bit_of_the_entropy(s):
    draws = torch.randn(5000, generator=torch.Generator().manual_seed(s)).abs()
    symbols = (draws * s / 3).long().clamp(max=s - 1).tolist()
    shares = [count / len(symbols) for count in Counter(symbols).values()]
    entropy = -sum(p * math.log2(p) for p in shares)
    mean = coded_bits(symbols) / len(symbols)
    assert entropy <= mean < entropy + 1
    assert mean <= index_bits(s)
    assert sum(2.0**-length for length in code_lengths(symbols).values()) == (1 if len(shares) > 1 else 0.5)


def test_a_network_counts_indices_scales_levels_and_the_rest():
    data = wb.data.load("digits").subset(64)
    student = wb.models.build("mlp", data, width=8, depth=1)
    sizes = [value.numel() for value in student.parameters() if value.ndim > 1]
    rest = 32 * sum(value.numel() for value in student.parameters() if value.ndim == 1)
    pm = compress(student, data, PM(bits=3, bucket=64)).settings
    assert pm["bits"] == sum(n * 3 + 64 * math.ceil(n / 64) for n in sizes) + rest
    assert pm["full bits"] == 32 * sum(value.numel() for value in student.parameters())
    assert pm["Huffman bits"] < pm["bits"]
    dq = compress(student, data, DQ(bits=3, bucket=64), steps=1, progress=False).settings
    assert dq["bits"] == pm["bits"] + 32 * 8 * len(sizes)
    assert dq["full bits"] == pm["full bits"]
    assert tensor_bits(10, 5, None) == 10 * 3 + 64


def test_nothing_to_code():
    with pytest.raises(ValueError, match="empty"):
        code_lengths([])
    assert coded_bits([7, 7]) == 2
