"""Every guest of tests/guests on the real host: EXECUTABLE FOLDER-OF-GUESTS [-- TEST...]."""

from __future__ import annotations

import json
import pathlib

from executable import SOURCE, ExecutableCase, arguments, main

SCENARIO = SOURCE / "tests/system/guest.py"


class Guests(ExecutableCase):
    def guests(self, *names: str, fidelity: str = "fast") -> None:
        options = ["--set", f"folder={arguments[1]}", "--set", f"names={','.join(names)}", "--set", f"fidelity={fidelity}"]
        self.assert_passed(self.run_scenario(SCENARIO, *options))

    def test_each(self) -> None:
        listed = json.loads((pathlib.Path(arguments[1]) / "guests.json").read_text(encoding="utf-8"))["guests"]
        self.assertGreater(len(listed), 0)
        for guest in listed:
            with self.subTest(guest["name"]):
                self.guests(guest["name"])

    def test_neighbours_stay_apart(self) -> None:
        self.guests("isolation", "isolation_neighbour")

    def test_a_hostile_neighbour_disturbs_nobody(self) -> None:
        self.guests("random_msrs_and_hypercalls", "hypercalls", "triple_fault", "spin_cli", "exceptions")


if __name__ == "__main__":
    main()
