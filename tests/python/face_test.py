"""The command line, wrong input, every way in which a run ends, and the results that it leaves."""

from __future__ import annotations

import csv
import hashlib
import os
import pathlib
import pty
import signal
import subprocess
import sys
import time

import _verdigris
from runs import HEAD, HEAD_LINES, ScenarioCase

LINE = HEAD_LINES + 2  # of the first line of main

# name, body of main, line on the error output
WRONG_MAINS = [
    ("a Python error", "x = 1 / 0", f"s.py:{LINE}: ZeroDivisionError: division by zero"),
    ("an error of many lines is one", 'raise ValueError("a\\n\\n  b")', f"s.py:{LINE}: ValueError: a b"),
    ("an error without a message", "raise KeyError", f"s.py:{LINE}: KeyError"),
    ("an assertion", 'assert vm.exit_code == 1, "not one"', f"s.py:{LINE}: AssertionError: not one"),
    ("in a function that main calls", "def f():\n    return nothing\nf()", f"s.py:{LINE + 1}: NameError: name 'nothing' is not defined"),
    ("in a task", "async def f():\n    None.x\nsim.start(f())\nawait vm.stopped()", f"s.py:{LINE + 1}: AttributeError: 'NoneType' object has no attribute 'x'"),
    ("inside the library", 'import fractions\nfractions.Fraction("x")', f"s.py:{LINE + 1}: ValueError: Invalid literal for Fraction: 'x'"),
    ("no unit", 'await sim.after("5")', f"s.py:{LINE}: after: '5' has no unit; units are ps, ns, us, ms, s, min, h"),
    ("a float", "await sim.after(0.5)", f"s.py:{LINE}: after: 0.5 is neither text like 30s or 1.5ms nor a whole number of picoseconds"),
    ("a wait without await", "x = 1\nsim.after('1ms')\nvm.stopped()\nawait vm.stopped()", f"s.py:{LINE + 1}: nothing waits for time 1 ms: write await before it"),
    ("asyncio", "import asyncio\nawait asyncio.sleep(1)", f"s.py:{LINE + 1}: RuntimeError: no running event loop: asyncio does not work here; await sim.after(...) and other events of the simulation"),
    ("a name that is nearly right", "vg.Hots()", f"s.py:{LINE}: AttributeError: module 'verdigris' has no attribute 'Hots'; did you mean Host?"),
    ("an attribute that is nearly right", "await sim.afer(1)", f"s.py:{LINE}: AttributeError: 'Simulation' object has no attribute 'afer'; did you mean after?"),
    ("an argument that is nearly right", "host.partition('b', memroy='1GiB')", f"s.py:{LINE}: TypeError: Host.partition() got an unexpected keyword argument 'memroy'; did you mean memory?"),
    ("an argument that is another", "vg.Behavioural(cpus=1)", f"s.py:{LINE}: TypeError: Behavioural() takes no arguments"),
    ("a statistic that is nearly right", 'vm.stats["vp0.exit"]', f"s.py:{LINE}: partition web has no statistic vp0.exit; stats.csv of a run lists all; did you mean vp0.exits?"),
    ("a number that is a text", "vg.RequestResponse(to=None, connections='3')", f"s.py:{LINE}: RequestResponse: connections: '3' is not a whole number from 1 to 2147483647"),
    ("await of what is no event", "import asyncio\nawait asyncio.sleep(0)", f"s.py:{LINE + 1}: None cannot be awaited in a scenario"),
    ("nothing to wait for", "await sim.first()", f"s.py:{LINE}: sim.first: nothing to wait for"),
    ("start without a coroutine", "sim.start(3)", f"s.py:{LINE}: 3 is not a coroutine; call an `async def` function and hand over the result"),
    ("an unknown statistic", 'vm.stats["nope"]', f"s.py:{LINE}: partition web has no statistic nope; stats.csv of a run lists all"),
    ("an unknown statistic of the host", 'host.stats["nope"]', f"s.py:{LINE}: the host has no statistic nope; stats.csv of a run lists all"),
    ("a figure below zero", 'sim.record("n", -1)', f"s.py:{LINE}: record n: -1 is not a whole number from 0 to 2^64-1"),
    ("a figure that is no number", 'sim.record("n", 0.5)', f"s.py:{LINE}: record n: 0.5 is not a whole number from 0 to 2^64-1"),
    ("expect nothing", 'await vm.console.expect("")', f"s.py:{LINE}: expect: '' is neither a text nor a compiled regular expression of text"),
    ("a parameter too late", 'vg.parameter("n", 1, "")', f"s.py:{LINE}: the parameter n must be declared at module level, before main runs"),
    ("exit", "raise SystemExit(0)", f"s.py:{LINE}: the scenario called exit; return from main instead"),
    ("a second host", "vg.Host()", f's.py:{LINE}: hosts of one scenario have names; give each vg.Host one, as name="a"'),
    ("a scenario that spins", "while True:\n    await sim.after(0)", "the scenario spins at 0 ps: it awaits nothing that takes simulated time"),
    ("memory that does not fit", 'host.partition("b", memory="2GiB", guest=vg.Elf("guest.txt"))', f"s.py:{LINE}: partition b needs 2147483648 bytes, the host has 1006632960 left"),
    ("a name twice", 'host.partition("web", guest=vg.Elf("guest.txt"))', f"s.py:{LINE}: partition: there is one named web already"),
    ("no name", 'host.partition("a/b", guest=vg.Elf("guest.txt"))', f"s.py:{LINE}: partition: 'a/b' is not a name of letters, digits, _ and -"),
    ("no virtual processor", 'host.partition("b", vps=0, guest=vg.Elf("guest.txt"))', f"s.py:{LINE}: partition b: vps: 0 is not a whole number from 1 to 4096"),
    ("no guest", 'host.partition("b", guest="linux")', f"s.py:{LINE}: partition b: guest is 'linux'; it may be vg.Linux(...), vg.Elf(...) or vg.Behavioural()"),
    ("a guest's missing file", 'host.partition("b", guest=vg.Elf("nope"))', f"s.py:{LINE}: guest: cannot read nope: No such file or directory"),
    ("a missing kernel", 'host.partition("b", guest=vg.Linux(kernel="nope"))', f"s.py:{LINE}: kernel: cannot read nope: No such file or directory"),
    ("a file outside", 'host.partition("b", guest=vg.Linux(files={"../x": ""}))', f"s.py:{LINE}: files: '../x' is not an absolute path in the guest"),
]  # fmt: skip

# name, whole scenario, line on the error output
WRONG_SCENARIOS = [
    ("syntax", "import verdigris\ndef f(:\n", "s.py:2: SyntaxError: invalid syntax"),
    ("no main", HEAD, "s.py: a scenario has an `async def main(sim)`; this one has none"),
    ("main is not async", HEAD + "def main(sim): pass\n", "s.py: a scenario has an `async def main(sim)`; this one has none"),
    ("main takes nothing", HEAD + "async def main(): pass\n", "s.py: main takes one argument, the simulation: `async def main(sim)`"),
    ("constant", "import verdigris as vg\nvg.Host(constants={'exit.hypercal': 1})\n", "s.py:2: the timing profile has no constant exit.hypercal; docs/timing.md lists all; did you mean exit.hypercall?"),
    ("constant's value", "import verdigris as vg\nvg.Host(constants={'exit.any': 1.5})\n", "s.py:2: constants: exit.any: 1.5 is not a whole number"),
    ("no host", "async def main(sim): pass\n", "s.py: the scenario has no host; make one with vg.Host(...) before main"),
    ("import", "import nothing_of_this_name\n", "s.py:1: ModuleNotFoundError: No module named 'nothing_of_this_name'"),
    ("zero bytes", "\0", f"s.py: {'SyntaxError' if sys.version_info >= (3, 12) else 'ValueError'}: source code string cannot contain null bytes"),
    ("profile", 'import verdigris as vg\nvg.Host(profile="x")\n', "s.py:2: there is no profile x: sandy-bridge-ep"),
    ("fidelity", 'import verdigris as vg\nvg.Host(fidelity="x")\n', "s.py:2: fidelity: 'x' is not one of fast, timed"),
    ("cores", "import verdigris as vg\nvg.Host(cores=0)\n", "s.py:2: cores: 0 is not a whole number from 1 to 4096"),
    ("parameter twice", "import verdigris as vg\nfor i in 1, 2: vg.parameter('n', 1, '')\n", "s.py:2: the parameter n is declared twice"),
]

# arguments after `run`, line on the error output; the scenario is a good one
WRONG_ARGUMENTS = [
    (["nope.py"], "cannot read the scenario nope.py: No such file or directory"),
    (["."], "cannot read the scenario .: Is a directory"),
    ([], "SCENARIO is required (./verdigris run --help explains)"),
    (["s.py", "--nope"], "there is no option --nope (./verdigris run --help explains)"),
    (["s.py", "--sed", "3"], "there is no option --sed; did you mean --seed? (./verdigris run --help explains)"),
    (["s.py", "t.py"], "t.py is one too many (./verdigris run --help explains)"),
    (["s.py", "--seed", "x"], "--seed: x is not a whole number from 0 to 2^64-1 (./verdigris run --help explains)"),
    (["s.py", "--seed", "-1"], "--seed: -1 is not a whole number from 0 to 2^64-1 (./verdigris run --help explains)"),
    (["s.py", "--seed"], "--seed: 1 required UINT missing (./verdigris run --help explains)"),
    (["s.py", "--set", "n"], "--set n: write it as NAME=VALUE"),
    (["s.py", "--set", "n=1", "--set", "n=2"], "--set n is given twice"),
    (["s.py", "--set", "m=1"], "--set m: the scenario has no such parameter; it has n, name, on"),
    (["s.py", "--set", "nane=1"], "--set nane: the scenario has no such parameter; it has n, name, on; did you mean name?"),
    (["s.py", "--set", "exit.any=x"], "s.py:2: --set exit.any=x: a constant of the timing profile is a whole number"),
    (["s.py", "--set", "n=1.5"], "s.py:4: --set n=1.5: n is a whole number"),
    (["s.py", "--set", "on=maybe"], "s.py:6: --set on=maybe: on is true or false"),
    (["s.py", "--until", "5"], "--until: '5' has no unit; units are ps, ns, us, ms, s, min, h"),
    (["s.py", "--trace", "all"], "--trace writes into the folder of results: add --out DIR"),
    (["s.py", "--trace", "vcd:a", "--out", "o"], "--trace vcd:a: there is no form vcd: perfetto, text, pcap, vcd"),
    (["s.py", "--trace", "perfetto:", "--out", "o"], "--trace perfetto:: write kinds with commas between them, or all"),
    (["s.py", "--trace", "a,,b", "--out", "o"], "--trace a,,b: write kinds with commas between them, or all"),
    (["s.py", "--out", "guest.txt"], "--out: cannot make the folder guest.txt: File exists"),
    (["s.py", "--out", "guest.txt/x"], "--out: cannot make the folder guest.txt/x: Not a directory"),
]

PARAMETERS = HEAD + """\
n = vg.parameter("n", 3, "a number")
name = vg.parameter("name", "x", "a name")
on = vg.parameter("on", False, "a switch")
async def main(sim):
    print(repr((n, name, on, sim.seed)))
"""


class WrongInput(ScenarioCase):
    def test_errors_in_main(self) -> None:
        for name, body, line in WRONG_MAINS:
            with self.subTest(name):
                self.assert_one_line(self.run_main(body), line)

    def test_wrong_scenarios(self) -> None:
        for name, scenario, line in WRONG_SCENARIOS:
            with self.subTest(name):
                self.write(scenario)
                self.assert_one_line(self.run_command("run", "s.py"), line)

    def test_wrong_arguments(self) -> None:
        self.write(PARAMETERS)
        for arguments, line in WRONG_ARGUMENTS:
            with self.subTest(arguments):
                self.assert_one_line(self.run_command("run", *arguments), line)

    def test_missing_images(self) -> None:
        self.write(HEAD.replace('vg.Elf("guest.txt")', "vg.Linux()") + "async def main(sim): pass\n")
        self.assert_one_line(
            self.run_command("run", "s.py", "--images", "none"),
            "s.py:3: no Linux kernel: cannot read none/linux/vmlinuz: No such file or directory; "
            "run ./verdigris setup, or name one with vg.Linux(kernel=...) or --images",
        )

    def test_verbose_shows_only_the_scenario(self) -> None:
        done = self.run_main("def f():\n    raise ValueError('x')\nf()", "--verbose")
        self.assertEqual(done.returncode, 2)
        lines = done.stderr.split("\n")
        self.assertEqual(lines[0], f"verdigris: s.py:{LINE + 1}: ValueError: x")
        places = [line.strip() for line in lines if line.startswith("  File")]
        self.assertEqual(places, [f'File "s.py", line {LINE + 2}, in main', f'File "s.py", line {LINE + 1}, in f'])

    def test_no_command(self) -> None:
        self.assert_one_line(self.run_command(), "A subcommand is required (./verdigris --help explains)")
        self.assert_one_line(self.run_command("bench", "nope"), "there is no benchmark nope: boot, hello")

    def test_bench_without_images(self) -> None:
        done = self.run_command("bench", "boot", "--images", "none")
        self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1))
        self.assertRegex(done.stderr, "^verdigris: bench boot: there is no ")

    def test_validate(self) -> None:
        done = self.run_command("validate", "ethernet", "--format", "csv")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn('ethernet,"10 Gb/s, frames of 64 bytes",packets/s,14880952,14880952,0,1,analytic,', done.stdout)
        done = self.run_command("validate", "nope")
        self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (2, "", 1))
        self.assertRegex(done.stderr, "^verdigris: there is no row nope: ethernet, pcie, 3, 4, .*, 25 ")

    def test_help(self) -> None:
        done = self.run_command("run", "--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for option in ("--set", "--seed", "--out", "--trace", "--until", "--images"):
            self.assertIn(option, done.stdout)


class Endings(ScenarioCase):
    def test_passed(self) -> None:
        done = self.run_main('sim.check("good", True, "one\\ntwo")', "--out", "out")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        lines = done.stdout.split("\n")
        self.assertEqual(lines[:2], ["passed  good: one two", "1 of 1 checks passed; 0 ps simulated, 0 instructions"])
        self.assertRegex(lines[2], "^trace_hash=[0-9a-f]{32}$")
        self.assertEqual(lines[3:], [""])
        result = self.result()
        self.assertEqual(lines[2], f"trace_hash={result['trace_hash']}")
        self.assertEqual((result["ended"], result["interrupted"]), ("finished", False))
        self.assertEqual(result["checks"], [{"name": "good", "passed": True, "detail": "one\ntwo"}])

    def test_failed_check(self) -> None:
        done = self.run_main('sim.check("a", True)\nsim.check("b", [])\nsim.check("c", 1)', "--out", "out")
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        self.assertEqual(done.stdout.split("\n")[:3], ["passed  a", "FAILED  b", "passed  c"])
        self.assertEqual([check["passed"] for check in self.result()["checks"]], [True, False, True])

    def test_timeout(self) -> None:
        done = self.run_main('sim.check("a", True)\nawait vm.console.expect("never", within="1us")', "--out", "out")
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        self.assertIn(f"FAILED  no output 'never' of guest web by 1 us: s.py:{LINE + 1}\n", done.stdout)
        result = self.result()
        self.assertEqual((result["ended"], result["sim_time_ps"]), ("timeout", 1_000_000))
        self.assertEqual([check["passed"] for check in result["checks"]], [True, False])

    def test_nothing_left_to_happen(self) -> None:
        done = self.run_main("await vm.stopped()", "--out", "out", guest="1000 print hello")
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        self.assertIn("no end of guest web: nothing is left to happen after 1 us", done.stdout)
        self.assertEqual(self.result()["ended"], "timeout")

    def test_output_of_a_guest_that_has_ended(self) -> None:
        done = self.run_main('await vm.console.expect("never", within="1s")', "--out", "out")
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        self.assertIn("no output 'never' of guest web: the guest has ended (powered_off)", done.stdout)
        self.assertEqual(self.result()["sim_time_ps"], 5_000_000)

    def test_until(self) -> None:
        done = self.run_main("await vm.stopped()", "--out", "out", "--until", "2.5us", guest="0 tick 1000")
        line = f"s.py: the scenario has not ended by --until 2.5 us; it waits for end of guest web"
        self.assertEqual((done.returncode, done.stderr), (2, f"verdigris: {line}\n"))
        result = self.result()
        self.assertEqual((result["ended"], result["sim_time_ps"]), ("until", 2_500_000))
        self.assertIn(f"trace_hash={result['trace_hash']}\n", done.stdout)

    def test_until_after_the_end_changes_nothing(self) -> None:
        plain = self.run_main("await vm.stopped()")
        bounded = self.run_main("await vm.stopped()", "--until", "1h")
        self.assertEqual((bounded.returncode, bounded.stdout), (0, plain.stdout))

    def test_error_keeps_results(self) -> None:
        self.run_main('sim.check("a", True)\nawait sim.after("1us")\nnothing', "--out", "out")
        self.assertEqual((self.result()["ended"], len(self.result()["checks"])), ("error", 1))

    def interrupt(self, body: str, number: int) -> subprocess.CompletedProcess[str]:
        lines = "".join(f"    {line}\n" for line in body.split("\n"))
        self.write(f"{HEAD}async def main(sim):\n{lines}", "0 tick 1000")
        with self.start("run", "s.py", "--out", "out", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            self.assertEqual(process.stdout.readline(), "begun\n")
            time.sleep(0.1)
            process.send_signal(number)
            out, err = process.communicate(timeout=30)
            return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def test_interrupt(self) -> None:
        waiting = 'sim.check("so far", True)\nprint("begun", flush=True)\nawait vm.stopped()'
        spinning = 'sim.check("so far", True)\nprint("begun", flush=True)\nwhile True: pass'
        swallowing = 'sim.check("so far", True)\nprint("begun", flush=True)\ntry:\n    await vm.stopped()\nexcept Exception:\n    pass'
        for body, number in [(waiting, signal.SIGINT), (waiting, signal.SIGTERM), (spinning, signal.SIGINT), (swallowing, signal.SIGINT)]:
            with self.subTest(body=body, number=number):
                done = self.interrupt(body, number)
                self.assertEqual((done.returncode, done.stderr), (130, "verdigris: interrupted; results so far are kept\n"))
                result = self.result()
                self.assertEqual((result["ended"], result["interrupted"]), ("interrupted", True))
                self.assertEqual(result["checks"], [{"name": "so far", "passed": True, "detail": ""}])
                self.assertTrue(done.stdout.endswith(f"trace_hash={result['trace_hash']}\n"))


class Results(ScenarioCase):
    def test_parameters(self) -> None:
        self.write(PARAMETERS)
        done = self.run_command("run", "s.py", "--set", "n=0x10", "--set", "name=a=b", "--set", "on=yes", "--seed", "18446744073709551615", "--out", "out")
        self.assertEqual(done.stdout.split("\n")[0], "(16, 'a=b', True, 18446744073709551615)")
        self.assertEqual(self.result()["parameters"], {"n": 16, "name": "a=b", "on": True})

    def test_parameters_are_listed(self) -> None:
        self.write(PARAMETERS)
        done = self.run_command("run", "s.py", "--parameters", "--set", "n=5", "--out", "out")
        self.assertEqual((done.returncode, done.stdout), (0, "n=5       a number\nname=x    a name\non=False  a switch\n"))
        self.assertFalse((self.folder / "out").exists())

    def test_timing_constants(self) -> None:
        head = HEAD.replace('memory="1GiB"', 'memory="1GiB", constants={"exit.any": 700, "mmio.read": 5}')
        body = "print(host.profile, vg.profile_constants()['exit.any'].unit)"
        done = self.run_main(body, "--set", "exit.any=900", "--out", "out", head=head)
        self.assertEqual(done.stdout.split("\n")[0], "sandy-bridge-ep:exit.any=900:mmio.read=5 cycles")
        result = self.result()
        self.assertEqual((result["parameters"], result["host"]["profile"]), ({"exit.any": 900}, "sandy-bridge-ep:exit.any=900:mmio.read=5"))

    def test_fields(self) -> None:
        self.run_main("await vm.stopped()", "--out", "deep/er/out")
        result = self.result("deep/er/out")
        self.assertIsInstance(result.pop("wall_s"), float)
        result.pop("trace_hash")
        source, guest = (hashlib.sha256((self.folder / name).read_bytes()).hexdigest() for name in ("s.py", "guest.txt"))
        self.assertEqual(
            result,
            {
                "scenario": "s.py",
                "sources": {"s.py": source},
                "files": {"guest.txt": guest},
                "parameters": {},
                "seed": 1,
                "version": _verdigris.version,
                "ended": "finished",
                "interrupted": False,
                "sim_time_ps": 5_000_000,
                "instructions": 10,
                "host": {
                    "cores": 2,
                    "memory_bytes": 1 << 30,
                    "profile": "sandy-bridge-ep",
                    "fidelity": "fast",
                    "quantum_ps": 100_000_000,
                },
                "partitions": {"web": {"state": "powered_off", "exit_code": 0, "crash_message": "", "instructions": 10}},
                "checks": [],
                "stats": {
                    "host.hypervisor.partitions.2.vp0.exits": {"value": 100, "unit": "count", "description": "intercepts"},
                    "host.root.web.prints": {"value": 1, "unit": "count", "description": "lines printed"},
                },
            },
        )
        with open(self.folder / "deep/er/out/stats.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        self.assertEqual(
            rows,
            [
                ["name", "value", "unit", "description"],
                ["host.hypervisor.partitions.2.vp0.exits", "100", "count", "intercepts"],
                ["host.root.web.prints", "1", "count", "lines printed"],
            ],
        )
        self.assertEqual((self.folder / "deep/er/out/console-web.txt").read_bytes(), b"ready\n")
        self.assertFalse((self.folder / "deep/er/out/trace.txt").exists())

    def test_trace(self) -> None:
        body = 'await vm.stopped()\nsim.check("ok", True)'
        plain = self.run_main(body)
        done = self.run_main(body, "--out", "out", "--trace", "state,check")
        self.assertEqual((done.stdout, done.stderr), (plain.stdout, ""))
        self.assertEqual((self.folder / "out/trace.txt").read_text(), "5000000 host.root.web state 0x1\n5000000 scenario check hex:6f6b01\n")
        self.run_main(body, "--out", "out", "--trace", "all")
        self.assertEqual((self.folder / "out/trace.txt").read_text().split("\n")[0], "100000 host.root.web console 0x6".replace("6", "5"))
        done = self.run_main(body, "--out", "out", "--trace", "state,nope")
        self.assertEqual((done.returncode, done.stderr), (0, "verdigris: --trace: the run had no record of kind nope\n"))

    def test_host_time(self) -> None:
        body = "for i in range(20000): await sim.after('1ns')"
        plain = self.run_main(body)
        done = self.run_main(body, "--out", "out", "--host-time")
        self.assertEqual((done.stdout, done.stderr), (plain.stdout, ""))
        with open(self.folder / "out/host_time.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        parts = {row["name"]: int(row["samples"]) for row in rows if row["level"] == "part"}
        self.assertTrue(any(name.startswith("libpython") for name in parts), parts)
        self.assertEqual(sum(parts.values()), sum(int(row["samples"]) for row in rows if row["level"] == "function"))
        self.assert_one_line(
            self.run_main(body, "--host-time"), "--host-time writes host_time.csv into the folder of results: add --out DIR"
        )

    def test_statistics_of_a_partition(self) -> None:
        body = "b = host.partition('b', memory='1MiB', guest=vg.Elf('guest.txt'))\nawait b.stopped()\nprint(dict(vm.stats), dict(b.stats), b.stats['vp0.exits'])"
        self.assertEqual(self.run_main(body).stdout.split("\n")[0], "{'prints': 1, 'vp0.exits': 100} {'prints': 1, 'vp0.exits': 100} 100")

    def test_statistics_of_the_host_and_of_the_scenario(self) -> None:
        body = "await vm.stopped()\nsim.record('n', 1, 'us', 'a figure')\nsim.record('n', 7)\nprint(dict(host.stats))"
        done = self.run_main(body, "--out", "out")
        self.assertEqual(
            done.stdout.split("\n")[0],
            "{'host.hypervisor.partitions.2.vp0.exits': 100, 'host.root.web.prints': 1, 'scenario.n': 7}",
        )
        self.assertEqual(self.result()["stats"]["scenario.n"], {"value": 7, "unit": "us", "description": "a figure"})

    def test_stale_results_go(self) -> None:
        self.run_main("pass", "--out", "out", "--trace", "all")
        (self.folder / "out/console-other.txt").write_text("old")
        (self.folder / "out/notes.txt").write_text("mine")
        self.run_main("pass", "--out", "out")
        left = sorted(path.name for path in (self.folder / "out").iterdir() if path.name != "report.html")
        self.assertEqual(left, ["console-web.txt", "notes.txt", "result.json", "stats.csv"])

    def test_random_stream(self) -> None:
        body = "print([sim.random.below(1000) for _ in range(5)], sim.random.shuffled('abcdef'))"
        one, same, other = self.run_main(body), self.run_main(body), self.run_main(body, "--seed", "2")
        self.assertEqual(one.stdout, same.stdout)
        self.assertNotEqual(one.stdout.split("\n")[0], other.stdout.split("\n")[0])

    def test_nothing_of_the_environment(self) -> None:
        """Another environment, another folder: the same output. A site folder's code never runs."""
        body = "import os, sys\nprint({'a', 'b', 'c'}, sys.flags.hash_randomization, hash('x'), sys.flags.no_user_site)\nawait vm.stopped()"
        plain = self.run_main(body).stdout
        (self.folder / "evil").mkdir()
        (self.folder / "evil/sitecustomize.py").write_text("print('ran')")
        (self.folder / "evil/json.py").write_text("print('ran')")
        (self.folder / "json.py").write_text("print('ran')")
        env = {"HOME": "/nowhere", "LANG": "tr_TR.UTF-8", "LC_ALL": "C", "TZ": "Asia/Kathmandu", "PYTHONPATH": str(self.folder / "evil")}
        env |= {"PYTHONHASHSEED": "77", "PYTHONHOME": "/nowhere", "PYTHONSTARTUP": str(self.folder / "json.py")}
        for cwd, name in [(self.folder, "s.py"), (pathlib.Path("/"), str(self.folder / "s.py"))]:
            done = subprocess.run(self.command("run", name), cwd=cwd, env=env, capture_output=True, text=True, timeout=60)
            self.assertEqual((done.stdout, done.stderr, done.returncode), (plain, "", 0))

    def test_unicode(self) -> None:
        done = self.run_main('sim.check("Grünspan ✓", True)', "--out", "out")
        self.assertIn("passed  Grünspan ✓\n", done.stdout)
        self.assertEqual(self.result()["checks"][0]["name"], "Grünspan ✓")

    def test_beside_the_scenario(self) -> None:
        (self.folder / "other.py").write_text("def f():\n    raise ValueError('there')\n")
        self.assert_one_line(self.run_main("import other\nother.f()"), f"{self.folder.resolve()}/other.py:2: ValueError: there")

    def test_progress_only_on_a_terminal(self) -> None:
        self.write(f"{HEAD}async def main(sim):\n    await sim.after('3ms')\n", "0 tick 1000")
        main_end, other_end = pty.openpty()
        with self.start("run", "s.py", stdout=subprocess.DEVNULL, stderr=other_end) as process:
            os.close(other_end)
            shown = b""
            while True:
                try:
                    chunk = os.read(main_end, 4096)
                except OSError:
                    break
                if not chunk:
                    break
                shown += chunk
        os.close(main_end)
        self.assertEqual(process.returncode, 0)
        self.assertRegex(shown, rb"\r0\.\d{6} s simulated, [0-9.e+-]+ x wall time, \d+\.\d MIPS\x1b\[K")
        self.assertTrue(shown.endswith(b"\r\x1b[K"))
