"""A few of the trials of ``tests.trials.kill_trials``: nothing sealed is lost, every project goes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from staproj.stages import registry
from tests.integration import toy_stages as toy
from tests.trials.kill_trials import RECOVERY_LIMIT_S, Trials


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trials]:
    """Return trials on a small project."""
    toy.CALLS.clear()
    toy.SWITCH.clear()
    with registry.temporarily(*toy.ALL):
        yield Trials(tmp_path_factory.mktemp("kill"), seed=7)


def no_faults(trials: Trials) -> None:
    """Check what was seen so far."""
    assert trials.tally.faults == []
    assert max(trials.tally.recovery_s) <= RECOVERY_LIMIT_S


def test_there_are_as_many_places_as_ever(trials: Trials) -> None:
    """The patches see the calls: a run of two steps is far more than a hundred changes of the disk."""
    assert trials.points > 150


def test_death_at_every_place(trials: Trials) -> None:
    """Before and after calls from the first to the last."""
    for at in range(1, trials.points + 1, 27):
        trials.die_at("points", at, after=bool(at % 2))
    no_faults(trials)


def test_power_cut_loses_what_was_never_fsynced(trials: Trials) -> None:
    """Bytes of files, or bytes and names: no run counts as sealed that is not whole."""
    for number, at in enumerate(range(9, trials.points + 1, 30)):
        trials.die_at("power", at, after=bool(number % 2), power="names" if number % 3 else "bytes")
    no_faults(trials)


def test_kill_at_random_moments(trials: Trials) -> None:
    """Kill -9 from outside."""
    for _ in range(8):
        trials.kill_after(trials.draw.uniform(0.0, 1.2 * trials.length_s))
    no_faults(trials)


def test_death_while_resuming(trials: Trials) -> None:
    """Two deaths in a row."""
    for _ in range(6):
        trials.die_twice(trials.draw.randint(20, trials.points), trials.draw.randint(1, trials.points))
    no_faults(trials)


def test_full_disk_anywhere(trials: Trials) -> None:
    """From some call on there is no room: one clear error, and the same command succeeds later."""
    for at in range(1, trials.points + 1, 36):
        trials.fill_at(at)
    no_faults(trials)
