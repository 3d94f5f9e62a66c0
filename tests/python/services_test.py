"""Questions to a guest's services, sockets and memory, with a guest that is written here."""

from __future__ import annotations

import unittest
from typing import Any

from verdigris import world as worlds
from verdigris.errors import Refused, Timeout, UserError
from verdigris.memory import Memory
from verdigris.services import Services
from verdigris.sockets import Sockets
from verdigris.tasks import Scheduler


class Machine:
    """A clock."""

    now_ps = 0


class Guest:
    """Answers what it is told to."""

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = []
        self.calls: list[tuple[Any, ...]] = []
        self.arrived = b""
        self.phase = "open"
        self.finished = False
        self.now = {"ready": True, "idle": True, "add_step": 128 << 20, "assigned": 1 << 30, "ballooned": 0}
        self.starts = True

    def keys_list(self, pool: int) -> int:
        self.calls.append(("list", pool))
        return 1

    def keys_answer(self, request: int) -> dict[str, Any] | None:
        return self.answers.pop(0) if self.answers else None

    def copy_file(self, folder: str, name: str, content: bytes) -> int:
        self.calls.append(("copy", folder, name, content))
        return 2

    def copy_answer(self, number: int) -> dict[str, Any] | None:
        return self.keys_answer(number)

    def socket_listen(self, port: int) -> None:
        self.calls.append(("listen", port))

    def socket_connect(self, port: int) -> int | None:
        return 7 if port != 99 else None

    def socket_state(self, number: int) -> dict[str, Any]:
        return {"phase": self.phase, "readable": len(self.arrived), "unsent": 0, "finished": self.finished}

    def socket_read(self, number: int, most: int) -> bytes:
        piece, self.arrived = self.arrived[:most], self.arrived[most:]
        return piece

    def socket_send(self, number: int, data: bytes) -> bool:
        self.calls.append(("send", data))
        return self.phase == "open"

    def memory(self) -> dict[str, Any]:
        return self.now

    def memory_balloon(self, size: int) -> bool:
        self.calls.append(("balloon", size))
        return self.starts

    def memory_unballoon(self, size: int) -> bool:
        self.calls.append(("unballoon", size))
        return self.starts

    def memory_balance(self, least: int, most: int, reserve: int) -> None:
        self.calls.append(("balance", least, most, reserve))

    def memory_leave(self) -> None:
        self.calls.append(("leave",))

    def memory_add(self, size: int) -> bool:
        self.calls.append(("add", size))
        return self.starts


class ServicesTest(unittest.TestCase):
    def setUp(self) -> None:
        self.machine, self.guest = Machine(), Guest()
        before = worlds._world
        self.addCleanup(lambda: setattr(worlds, "_world", before))
        worlds._world = worlds.World(self.machine, None, None, {})  # type: ignore[arg-type]
        self.services = Services("web", self.guest)
        self.sockets = Sockets("web", self.guest)
        self.memory = Memory("web", self.guest)

    def run_until(self, coroutine: Any, now_ps: int = 0) -> Any:
        """The coroutine's result, all of it at one time."""
        scheduler = Scheduler()
        task = scheduler.start(coroutine)
        self.machine.now_ps = now_ps
        scheduler.step_all(lambda: now_ps, task)
        self.assertTrue(task.done, scheduler.waits())
        return task.result()

    def test_keys(self) -> None:
        self.guest.answers = [{"outcome": "answered", "status": 0, "items": {"OSName": "Linux"}}]
        self.assertEqual(self.run_until(self.services.kvp.list()), {"OSName": "Linux"})
        self.assertEqual(self.guest.calls, [("list", 2)])
        self.guest.answers = [{"outcome": "timed out", "status": 0}]
        with self.assertRaisesRegex(Refused, "keys of pool guest of guest web: timed out"):
            self.run_until(self.services.kvp.list("guest"))
        with self.assertRaisesRegex(UserError, "there is no pool 'none'"):
            self.run_until(self.services.kvp.list("none"))

    def test_copy(self) -> None:
        self.guest.answers = [{"outcome": "answered", "status": 0, "bytes": 4}]
        self.assertEqual(self.run_until(self.services.copy_file("text", "/var/a/b.txt")), 4)
        self.assertEqual(self.guest.calls, [("copy", "/var/a/", "b.txt", b"text")])
        self.guest.answers = [{"outcome": "answered", "status": 0x80070050}]
        with self.assertRaisesRegex(Refused, "the guest says 0x80070050"):
            self.run_until(self.services.copy_file("text", "/b.txt"))
        with self.assertRaisesRegex(UserError, "'b.txt' is not the absolute path"):
            self.run_until(self.services.copy_file("text", "b.txt"))

    def test_socket(self) -> None:
        socket = self.run_until(self.sockets.connect(5000))
        self.guest.arrived = b"one\ntwo"
        self.assertEqual(self.run_until(socket.read_line()), b"one\n")
        self.assertFalse(socket.at_end)
        self.guest.finished = True
        self.assertEqual(self.run_until(socket.read_exactly(10)), b"two")
        self.assertTrue(socket.at_end)
        self.assertEqual(self.run_until(socket.read_all()), b"")
        self.guest.phase = "over"
        with self.assertRaisesRegex(Refused, "nobody to write to"):
            socket.write("three")
        with self.assertRaisesRegex(Refused, "nobody listens"):
            self.run_until(self.sockets.connect(5000))
        with self.assertRaisesRegex(Refused, "there are too many"):
            self.run_until(self.sockets.connect(99))
        for port in (0, 2**31, True, "5000"):
            with self.assertRaisesRegex(UserError, "is not a port"):
                self.sockets.listen(port)  # type: ignore[arg-type]

    def test_nothing_arrives(self) -> None:
        socket = self.run_until(self.sockets.connect(5000))
        scheduler = Scheduler()
        task = scheduler.start(socket.read(within="1s"))
        scheduler.step_all(lambda: 0, task)
        self.assertEqual(scheduler.next_deadline(0), 10**12)
        self.machine.now_ps = 10**12
        scheduler.step_all(lambda: 10**12, task)
        with self.assertRaisesRegex(Timeout, "no data in socket 5000 of guest web by 1 s"):
            task.result()

    def test_memory(self) -> None:
        self.run_until(self.memory.balloon(to="256MiB"))
        self.run_until(self.memory.balloon(to="1GiB"))
        self.run_until(self.memory.balloon(to="2GiB"))  # nothing is in the balloon
        self.guest.now["ballooned"] = 1 << 20
        self.run_until(self.memory.balloon(to="2GiB"))
        self.assertEqual(self.guest.calls, [("balloon", 768 << 20), ("unballoon", 1 << 30)])
        self.guest.calls.clear()
        self.memory.balance("256MiB", "1GiB")
        self.memory.balance(1 << 20, 1 << 20, reserve=2000)
        self.memory.stop_balancing()
        self.assertEqual(
            self.guest.calls, [("balance", 256 << 20, 1 << 30, 20), ("balance", 1 << 20, 1 << 20, 2000), ("leave",)]
        )
        for minimum, maximum, reserve, said in (
            ("2GiB", "1GiB", 20, "memory of guest web: the minimum of 2GiB is above the maximum of 1GiB"),
            ("1GiB", "2GiB", 2001, "reserve: 2001 is not a whole number from 0 to 2000"),
            ("1GiB", "2GiB", True, "reserve: True is not a whole number"),
            ("much", "2GiB", 20, "minimum of memory"),
        ):
            with self.subTest(said), self.assertRaisesRegex(UserError, said):
                self.memory.balance(minimum, maximum, reserve)
        with self.assertRaisesRegex(UserError, "1MiB is not a multiple of 128 MiB"):
            self.run_until(self.memory.add("1MiB"))
        with self.assertRaisesRegex(Refused, "the guest does not take it"):
            self.run_until(self.memory.add("128MiB"))
        self.guest.starts = False
        with self.assertRaisesRegex(Refused, "not now, or the host has not got the memory"):
            self.run_until(self.memory.add("128MiB"))


if __name__ == "__main__":
    unittest.main()
