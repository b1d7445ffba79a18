"""Read a pickle by an interpreter of our own: nothing that it names is looked up, called or given its state.

Python's unpickler with a list of admitted names is not enough: to build a `numpy.dtype` from what a pickle says of it
is to hand a stranger's numbers to C code (an object field, or a field beyond the item's end, corrupts memory). Here a
name stands for one of our own functions, a dtype is one of a few plain codes, and an array is bytes that must be as
long as its shape says.
"""

import codecs
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MOST_STEPS = 1_000_000
"""Instructions in one pickle; each makes at most one small object, so this bounds the memory beyond the file's size."""

_LONGEST_NUMBER = 64
_LONGEST_NAME = 200
_KEYS = (str, bytes, int, float, type(None))  # a tuple of tuples of tuples as a key can take years to hash


class RefusedError(Exception):
    """A pickle asks for something that is not read; the message continues "it …"."""


class DamagedError(Exception):
    """A pickle that is cut short or makes no sense."""


Makers = Mapping[tuple[str, str], Callable[..., Any]]


@dataclass(frozen=True)
class Named:
    """A function that a pickle names: one of ours, called where it is reduced."""

    module: str
    name: str
    make: Callable[..., Any]


class Buildable:
    """What may be given a state by a pickle: it checks the state itself."""

    def build(self, state: object) -> None:
        raise NotImplementedError


class PlainReader:
    """Interprets one pickle in `content`, from `position` on; after `load` the position is behind it.

    Parameters
    ----------
    content
        The bytes.
    makers
        (module, name) → the function of ours that stands for it, called with what the pickle passes.
    stored
        What a persistent id stands for; None: there are none.
    """

    def __init__(
        self,
        content: bytes,
        makers: Makers,
        *,
        position: int = 0,
        stored: Callable[[Any], Any] | None = None,
    ) -> None:
        self.content, self.position = content, position
        self._makers, self._stored = makers, stored
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def load(self) -> Any:
        """The value.

        Raises
        ------
        RefusedError, DamagedError
            The pickle asks for more than plain values and the named makers; or is cut short.
        """
        try:
            for _ in range(MOST_STEPS):
                code = self.take(1)[0]
                if code == _STOP:
                    return self.pop()
                step = _STEPS.get(code)
                if step is None and code in _MORE:
                    raise RefusedError(f"makes objects in a way that is not read ({bytes([code])!r})")
                if step is None:
                    raise DamagedError(f"{bytes([code])!r} is no instruction")
                step(self)
        except (IndexError, KeyError, struct.error, UnicodeError, OverflowError) as error:
            raise DamagedError(f"{type(error).__name__}: {error}") from None
        raise RefusedError(f"has more than {MOST_STEPS:,} instructions")

    def take(self, size: int) -> bytes:
        start, end = self.position, self.position + size
        if size < 0 or end > len(self.content):
            raise DamagedError(f"it announces {size:,} bytes and has {len(self.content) - start:,}")
        self.position = end
        return self.content[start:end]

    def line(self) -> bytes:
        end = self.content.find(b"\n", self.position)
        if end < 0:
            raise DamagedError("it ends inside a line")
        return self.take(end + 1 - self.position)[:-1]

    def counted(self, form: str) -> bytes:
        return self.take(struct.unpack(form, self.take(struct.calcsize(form)))[0])

    def pop(self) -> Any:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise DamagedError("it takes more from its stack than lies there")
        return self._stack.pop()

    def top(self) -> Any:
        value = self.pop()
        self._stack.append(value)
        return value

    def since_mark(self) -> list[Any]:
        if not self._marks:
            raise DamagedError("it lacks a mark")
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def push(self, value: object) -> None:
        self._stack.append(value)

    def mark(self) -> None:
        self._marks.append(len(self._stack))

    def pop_or_mark(self) -> None:
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self.pop()

    def whole(self) -> None:
        text = self.line()
        if text in (b"00", b"01"):
            self.push(text == b"01")
        else:
            self.push(_whole(text))

    def gather(self, size: int) -> None:
        items = [self.pop() for _ in range(size)]
        self.push(tuple(reversed(items)))

    def extend(self, items: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, list):
            raise RefusedError(f"appends to a {type(target).__name__}")
        target.extend(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, dict):
            raise RefusedError(f"sets items of a {type(target).__name__}")
        if len(items) % 2:
            raise DamagedError("a key lacks its value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, _KEYS):
                raise RefusedError(f"has a {type(key).__name__} as a key")
            target[key] = value

    def named(self, module: object, name: object) -> None:
        if not isinstance(module, str) or not isinstance(name, str) or len(module) + len(name) > _LONGEST_NAME:
            raise RefusedError("asks for something by no name")
        make = self._makers.get((module, name))
        if make is None:
            raise RefusedError(f"asks for {module}.{name}")
        self.push(Named(module, name, make))

    def named_by_lines(self) -> None:
        module, name = self.line(), self.line()
        self.named(module.decode(), name.decode())

    def named_by_stack(self) -> None:
        name, module = self.pop(), self.pop()
        self.named(module, name)

    def reduce(self) -> None:
        arguments, what = self.pop(), self.pop()
        if not isinstance(what, Named) or not isinstance(arguments, tuple):
            raise RefusedError(f"calls a {type(what).__name__}")
        try:
            self.push(what.make(*arguments))
        except TypeError:
            raise RefusedError(f"calls {what.module}.{what.name} with {len(arguments)} arguments") from None

    def build(self) -> None:
        state, what = self.pop(), self.top()
        if not isinstance(what, Buildable):
            raise RefusedError(f"sets the state of a {type(what).__name__}")
        what.build(state)

    def persistent(self) -> None:
        if self._stored is None:
            raise RefusedError("refers to something stored elsewhere")
        self.push(self._stored(self.pop()))


def _whole(text: bytes) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise RefusedError(f"holds a number of {len(text)} digits")
    try:
        return int(text)
    except ValueError:
        raise DamagedError("a number makes no sense") from None


def _real(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        raise DamagedError("a number makes no sense") from None


def _long(content: bytes) -> int:
    if len(content) > _LONGEST_NUMBER:
        raise RefusedError(f"holds a number of {len(content)} bytes")
    return int.from_bytes(content, "little", signed=True)


def _quoted(text: bytes) -> bytes:
    if len(text) < 2 or text[:1] != text[-1:] or text[:1] not in (b"'", b'"'):
        raise DamagedError("a string lacks its quotes")
    try:
        found: bytes = codecs.escape_decode(text[1:-1])[0]  # as pickle itself reads them
    except ValueError:
        raise DamagedError("a string makes no sense") from None
    return found


def _dict(items: list[Any], reader: PlainReader) -> None:
    reader.push({})
    reader.set_items(items)


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogatepass")


def _put(reader: PlainReader, key: int) -> None:
    reader.memo[key] = reader.top()


_STOP = ord(".")
_MORE = frozenset(b"\x81\x82\x83\x84\x8f\x90\x91\x92\x97\x98ioP")
"""Instructions of pickle that plain values do not need: classes, registered extensions, sets, buffers elsewhere."""

_STEPS: dict[int, Callable[[PlainReader], Any]] = {
    0x80: lambda r: r.take(1),  # protocol
    0x95: lambda r: r.take(8),  # frame: its length decides nothing here
    ord("("): PlainReader.mark,
    ord("0"): PlainReader.pop_or_mark,
    ord("1"): PlainReader.since_mark,
    ord("2"): lambda r: r.push(r.top()),
    ord("N"): lambda r: r.push(None),
    0x88: lambda r: r.push(True),
    0x89: lambda r: r.push(False),
    ord("I"): PlainReader.whole,
    ord("L"): lambda r: r.push(_whole(r.line().removesuffix(b"L"))),
    ord("J"): lambda r: r.push(struct.unpack("<i", r.take(4))[0]),
    ord("K"): lambda r: r.push(r.take(1)[0]),
    ord("M"): lambda r: r.push(struct.unpack("<H", r.take(2))[0]),
    0x8A: lambda r: r.push(_long(r.counted("<B"))),
    0x8B: lambda r: r.push(_long(r.counted("<i"))),
    ord("F"): lambda r: r.push(_real(r.line())),
    ord("G"): lambda r: r.push(struct.unpack(">d", r.take(8))[0]),
    ord("S"): lambda r: r.push(_quoted(r.line())),
    ord("T"): lambda r: r.push(r.counted("<i")),  # strings of python 2 are bytes
    ord("U"): lambda r: r.push(r.counted("<B")),
    ord("B"): lambda r: r.push(r.counted("<I")),
    ord("C"): lambda r: r.push(r.counted("<B")),
    0x8E: lambda r: r.push(r.counted("<Q")),
    0x96: lambda r: r.push(r.counted("<Q")),  # a bytearray
    ord("V"): lambda r: r.push(r.line().decode("raw-unicode-escape")),
    ord("X"): lambda r: r.push(_text(r.counted("<I"))),
    0x8C: lambda r: r.push(_text(r.counted("<B"))),
    0x8D: lambda r: r.push(_text(r.counted("<Q"))),
    ord(")"): lambda r: r.push(()),
    0x85: lambda r: r.gather(1),
    0x86: lambda r: r.gather(2),
    0x87: lambda r: r.gather(3),
    ord("t"): lambda r: r.push(tuple(r.since_mark())),
    ord("]"): lambda r: r.push([]),
    ord("l"): lambda r: r.push(r.since_mark()),
    ord("a"): lambda r: r.extend([r.pop()]),
    ord("e"): lambda r: r.extend(r.since_mark()),
    ord("}"): lambda r: r.push({}),
    ord("d"): lambda r: _dict(r.since_mark(), r),
    ord("s"): lambda r: r.set_items([r.pop(), r.pop()][::-1]),
    ord("u"): lambda r: r.set_items(r.since_mark()),
    ord("p"): lambda r: _put(r, _whole(r.line())),
    ord("q"): lambda r: _put(r, r.take(1)[0]),
    ord("r"): lambda r: _put(r, struct.unpack("<I", r.take(4))[0]),
    0x94: lambda r: _put(r, len(r.memo)),
    ord("g"): lambda r: r.push(r.memo[_whole(r.line())]),
    ord("h"): lambda r: r.push(r.memo[r.take(1)[0]]),
    ord("j"): lambda r: r.push(r.memo[struct.unpack("<I", r.take(4))[0]]),
    ord("c"): PlainReader.named_by_lines,
    0x93: PlainReader.named_by_stack,
    ord("R"): PlainReader.reduce,
    ord("b"): PlainReader.build,
    ord("Q"): PlainReader.persistent,
}
