"""What a guest's user has: keyboard, pointer, screen."""

from __future__ import annotations

from typing import Any

from .files import write_whole
from .tasks import Condition
from .waiting import Ready
from .world import deadline, world


class Keyboard:
    """The guest's synthetic keyboard, with the layout of the USA."""

    def __init__(self, native: Any) -> None:
        self._native = native

    def type(self, text: str) -> None:
        """Types a text; a line ends with "\\n". The strokes wait until the guest's driver is there."""
        self._native.type_keys(text)

    def press(self, chord: str) -> None:
        """Presses and releases keys together, as "ctrl+alt+delete" or "enter". UserError for an unknown key."""
        self._native.press(chord)


class Pointer:
    """The guest's synthetic pointer: five buttons, a wheel, an absolute position."""

    def __init__(self, name: str, native: Any) -> None:
        self._name = name
        self._native = native

    def ready(self, within: str | int | None = "30s") -> Condition:
        """Awaits that the guest's driver is there; reports wait for it."""
        return Ready(f"pointer of guest {self._name}", deadline(within), self._native.pointer_ready)

    def move(self, x: int, y: int) -> None:
        """Moves it: 0 to 32767 across the screen, whatever its resolution. UserError outside of that."""
        self._native.pointer_move(x, y)

    def press(self, button: str = "left") -> None:
        """Presses a button: left, right, middle, fourth, fifth."""
        self._native.pointer_press(button)

    def release(self, button: str = "left") -> None:
        """Lets it go."""
        self._native.pointer_release(button)

    def click(self, button: str = "left") -> None:
        """Presses a button and lets it go."""
        self.press(button)
        self.release(button)

    def scroll(self, steps: int) -> None:
        """Turns the wheel; up is positive."""
        self._native.pointer_scroll(steps)


class Screen:
    """The guest's screen, if the partition was made with one."""

    def __init__(self, native: Any) -> None:
        self._native = native

    def png(self) -> bytes:
        """The picture as it is now, as a PNG file. UserError if there is none."""
        return bytes(self._native.picture())

    def save(self, name: str) -> None:
        """Writes the picture into the folder of results, if the run has one. UserError if there is no picture."""
        picture = self.png()
        folder = world().out
        if folder is not None:
            write_whole(folder / name, picture)
