"""What a scenario can await, and in which order things happen: exact simulated times."""

from __future__ import annotations

from runs import HEAD, ScenarioCase

TICKER = """
async def ticker(sim, name, period, count):
    for i in range(count):
        await sim.after(period)
        print(name, sim.now)
    return name + " done"
"""

# name, body of main, guest, expected lines before the summary
CASES = [
    ("time passes exactly", 'await sim.after("1.5ns"); print(sim.now)\nawait sim.at("7ns"); print(sim.now)', "", ["1500", "7000"]),
    ("a time that has passed is there at once", 'await sim.at("7ns")\nawait sim.at("3ns"); print(sim.now)', "", ["7000"]),
    ("an integer is picoseconds", "await sim.after(12345)\nprint(sim.now)", "", ["12345"]),
    (
        "a match, its time and its groups",
        'import re\nm = await vm.console.expect(re.compile(r"at ([0-9]+)"))\nprint(m[1], sim.now)',
        "10 print nothing\n20 print at 42",
        ["42 20000"],
    ),
    (
        "expect goes on after the previous match",
        'a = await vm.console.expect("x")\nb = await vm.console.expect("x")\nprint(a.start(), b.start(), sim.now)',
        "10 print xx",
        ["0 1 10000"],
    ),
    ("text is taken literally", 'm = await vm.console.expect("a.b")\nprint(m.start(), sim.now)', "10 print aXb\n20 print a.b", ["4 20000"]),
    (
        "a limit that is not met",
        'try:\n    await vm.console.expect("never", within="50ns")\nexcept vg.Timeout as late:\n    print(late, sim.now)',
        "10 print x",
        ["no output 'never' of guest web by 50 ns 50000"],
    ),
    ("met at the very limit", 'await vm.console.expect("x", within="50ns")\nprint(sim.now)', "50 print x", ["50000"]),
    ("the end of a guest", "print(await vm.stopped(), sim.now, vm.exit_code)", "30 exit 9", ["debug_exit 30000 9"]),
    ("a crash with its message", "print(await vm.stopped(), vm.crash_message)", "30 state crashed", ["crashed the guest said so"]),
    (
        "tasks alternate by time, those of one time as they began to wait",
        'a = sim.start(ticker(sim, "a", "10ns", 3))\nb = sim.start(ticker(sim, "b", "15ns", 2))\nprint(await a, await b)',
        "",
        ["a 10000", "b 15000", "a 20000", "b 30000", "a 30000", "a done b done"],
    ),
    (
        "first gives position and result, and cancels what it started",
        'print(await sim.first(ticker(sim, "a", "10ns", 9), sim.after("25ns")))\nawait sim.after("50ns")',
        "",
        ["a 10000", "a 20000", "(1, None)"],
    ),
    (
        "first leaves a task alone that it did not start",
        't = sim.start(ticker(sim, "a", "10ns", 3))\nprint((await sim.first(t, sim.after("15ns")))[0])\nprint(await t)',
        "",
        ["a 10000", "1", "a 20000", "a 30000", "a done"],
    ),
    ("all gives results in order", 'print(await sim.all(sim.after("9ns"), vm.stopped()), sim.now)', "5 exit 1", ["[None, 'debug_exit'] 9000"]),
    (
        "all raises as soon as one raises",
        'try:\n    await sim.all(sim.after("9ns"), vm.stopped(within="3ns"))\nexcept vg.Timeout:\n    print(sim.now)',
        "",
        ["3000"],
    ),
    (
        "first of first",
        'print(await sim.first(sim.first(sim.after("5ns"), sim.after("4ns")), sim.after("9ns")), sim.now)',
        "",
        ["(0, (1, None)) 4000"],
    ),
    (
        "a cancelled task cleans up",
        "async def worker():\n    try:\n        await sim.after('1s')\n    finally:\n        print('clean', sim.now)\n"
        "t = sim.start(worker())\nawait sim.after('5ns')\nt.cancel()\nprint(t.done)",
        "",
        ["clean 5000", "True"],
    ),
    (
        "an exception reaches who awaits",
        "async def worker():\n    await sim.after('5ns')\n    raise ValueError('x')\n"
        "try:\n    await sim.start(worker())\nexcept ValueError as e:\n    print(e, sim.now)",
        "",
        ["x 5000"],
    ),
    ("what still runs when main returns is ended", 'sim.start(ticker(sim, "a", "10ns", 99))\nawait sim.after("25ns")', "", ["a 10000", "a 20000"]),
    ("typing", 'vm.console.write("ls")\nawait vm.console.expect("typed ls")\nprint(sim.now, vm.console.text)', "", ["10000 typed ls", ""]),
    (
        "a partition made later starts later",
        'await sim.after("1us")\nb = host.partition("b", memory="1MiB", guest=vg.Elf("guest.txt"))\n'
        "await b.stopped()\nprint(sim.now)",
        "30 exit 0",
        ["1030000"],
    ),
    ("bytes that are not text", 'await vm.console.expect("x")\nprint(ascii(vm.console.text))', "10 print \udcff\udcc3x", ["'\\ufffd\\ufffdx\\n'"]),
]


class Tasks(ScenarioCase):
    def test_cases(self) -> None:
        for name, body, guest, expected in CASES:
            with self.subTest(name):
                done = self.run_main(body, guest=guest, head=HEAD + TICKER)
                self.assertEqual(done.stderr, "")
                self.assertEqual(done.stdout.split("\n")[:-3], expected)
                self.assertEqual(done.returncode, 0)
