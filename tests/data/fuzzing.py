"""Seeded damage for the fuzzers: what bytes and JSON become when a stranger, a disk or a cable has changed them."""

import random

NASTY = (0, 1, 0x7F, 0x80, 0xFF)
VALUES = (
    None, True, False, 0, -1, 1, 3.5, 2**31, -(2**63), 2**70, 1e308, float("nan"), float("inf"), "", "x", "0", "\0",
    "é", "../up", "/etc/passwd", "n" * 300, [], {}, [1], [[]], {"a": 1}, [None], ["x", 2], {"$tensor": "images"},
    {"$float": "nan"}, {"$tuple": []}, {"$record": "Claim", "fields": {}}, {"$items": [[1, 2]]},
)  # fmt: skip


def damaged(content: bytes, rng: random.Random) -> bytes:
    """The bytes with one to four things done to them: bits flipped, bytes set, parts cut out, copied or filled in."""
    found = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(found) + 1)
        # Headers stand first (and in zips last), and there is more to damage in them than in the numbers.
        if rng.random() < 0.6:
            at = min(at, rng.randrange(200))
        elif rng.random() < 0.3:
            at = max(at, len(found) - rng.randrange(200))
        at = min(max(at, 0), len(found))
        length = rng.choice((1, 1, 2, 4, 8, 30))
        what = rng.randrange(7)
        if what == 0 and at < len(found):
            found[at] ^= 1 << rng.randrange(8)
        elif what == 1 and at < len(found):
            found[at] = rng.choice(NASTY)
        elif what == 2:
            found[at : at + length] = bytes([rng.choice(NASTY)]) * length
        elif what == 3:
            del found[at : at + length]
        elif what == 4:
            found[at:at] = rng.randbytes(length)
        elif what == 5:
            start = rng.randrange(len(found) + 1)
            found[at:at] = found[start : start + length]
        elif what == 6:
            del found[at:]
    return bytes(found)


def changed(value, rng: random.Random):
    """A copy of JSON values with one of them, somewhere, replaced, removed, repeated, wrapped or nested deeply."""
    if isinstance(value, dict | list) and value and rng.random() < 0.85:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = rng.choice(keys)
        copy = value.copy()
        what = rng.random()
        if what < 0.7:
            copy[key] = changed(value[key], rng)
        elif what < 0.8:
            del copy[key]
        elif isinstance(copy, list):
            copy.insert(key, copy[rng.choice(keys)])
        else:
            copy[rng.choice(("x", "", "classes", "label", "$tensor"))] = copy[key]
        return copy
    what = rng.random()
    if what < 0.1 and isinstance(value, int | float) and not isinstance(value, bool):
        return rng.choice((-value, value + 1, value - 1, value * 1000, str(value)))
    if what < 0.15:
        return [value]
    if what < 0.2:
        for _ in range(rng.choice((3, 200))):
            value = [value]
        return value
    return rng.choice(VALUES)
