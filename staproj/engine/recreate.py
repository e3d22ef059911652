"""Whether outputs that are gone can be made again from what stays.

The *unit* is what is computed by one call of a stage: ``(run, tilt series)``, or ``(run, None)`` where the
stage ran once. A unit can be made again if

* its run is sealed, with a whole pre-image that gives its key,
* its stage is installed with the same ``cache_version``, is declared deterministic, and computed on the CPU,
* its parameters still fit the stage,
* the raw data it read, itself or through an artifact that only points at it, is there unchanged,
* every input is there, or can be made again in the same way.

Reads records and ``stat`` only; raw data is read (its first and last MiB) where its fingerprint is not known.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, MutableMapping
from typing import Any

from staproj.engine import digest
from staproj.engine.view import View
from staproj.errors import StaprojError
from staproj.kinds import ArtifactKind
from staproj.project import reading
from staproj.stages import registry

Unit = tuple[str, str | None]
Memo = MutableMapping[Any, Any]

_POINTS_AT_FILES = (
    ArtifactKind.MOVIES,
    ArtifactKind.TILT_SERIES,
    ArtifactKind.TOMOGRAMS,
    ArtifactKind.MAP,
    ArtifactKind.HALF_MAPS,
    ArtifactKind.MASK,
)


def recreatable(view: View, run: str, memo: Memo | None = None) -> tuple[bool, str]:
    """Tell whether every missing file of a run can be made again from what stays, else what blocks it.

    ``memo`` keeps what was found for the next question on the same view; nothing may change in between.
    """
    asked = Recreation(view, memo=memo)
    try:
        gone = asked.units_with_missing(run)
    except StaprojError as error:
        return False, error.message
    for unit in gone:
        problem = asked.blocks(unit)
        if problem:
            return False, problem
    return True, ""


def name_of(unit: Unit) -> str:
    """Return a unit as it is shown, ``r0007`` or ``r0007 (TS_03)``."""
    return unit[0] if unit[1] is None else f"{unit[0]} ({unit[1]})"


def scope_of(spec: Mapping[str, Any]) -> str:
    """Return whether a run's stage was called once a tilt series ("item") or once ("project")."""
    return str(spec["preimage"].get("scope") or spec.get("scope") or "item")


def units_of(view: View, run: str) -> list[Unit]:
    """Return the units of a run."""
    spec = view.spec(run)
    return [(run, str(item)) for item in spec["items"]] if scope_of(spec) == "item" else [(run, None)]


def files_of(view: View, unit: Unit) -> list[dict[str, Any]]:
    """Return the entries of ``outputs.json`` that one unit made."""
    run, item = unit
    found: list[dict[str, Any]] = view.outputs(run)["files"]
    if item is None:
        return found
    return [entry for entry in found if str(entry["path"]).startswith(f"{item}/")]


class Recreation:
    """Answers for one view, with ``without`` taken for gone although their files may still be there.

    ``without`` holds units; asking about all victims of a clean-up at once is what makes it safe.
    """

    def __init__(self, view: View, *, without: Collection[Unit] = (), memo: Memo | None = None) -> None:
        self.view = view
        self.without = frozenset(without)
        self._memo: Memo = {} if memo is None else memo

    def blocks(self, unit: Unit) -> str:
        """Return what keeps a unit from being made again; empty if nothing does."""
        waiting = [unit]
        while waiting:
            current = waiting[-1]
            if self._key(current) in self._memo:
                waiting.pop()
                continue
            problem, needs = self._look(current)
            unknown = [] if problem else [n for n in needs if self._key(n) not in self._memo]
            if unknown:
                waiting += unknown
                continue
            for need in [] if problem else needs:
                if self._memo[self._key(need)]:
                    reason = self._memo[self._key(need)]
                    problem = f"it needs {name_of(need)}, which is gone and cannot be made again: {reason}"
                    break
            self._memo[self._key(current)] = problem
            waiting.pop()
        return str(self._memo[self._key(unit)])

    def needs(self, unit: Unit) -> list[Unit]:
        """Return the units that are gone and would have to be made again before this one."""
        return self._look(unit)[1]

    def units_with_missing(self, run: str) -> list[Unit]:
        """Return the units of a sealed run that lack files (or are taken for gone)."""
        lacking = self._lacking(run)
        found = [unit for unit in units_of(self.view, run) if self._lacks(unit, lacking)]
        if not found and lacking:  # a file that belongs to no tilt series of the run
            return units_of(self.view, run)
        return found

    def missing(self, unit: Unit) -> list[dict[str, Any]]:
        """Return the entries of a unit's files that are not there now (``stat`` only)."""
        lacking = self._lacking(unit[0])
        return [entry for entry in files_of(self.view, unit) if entry["path"] in lacking]

    def _key(self, unit: Unit) -> tuple[Any, ...]:
        return ("blocks", unit, self.without)

    def _look(self, unit: Unit) -> tuple[str, list[Unit]]:
        """Return what blocks a unit by itself, and the units upstream that would have to be made first."""
        key = ("look", unit, self.without)
        if key not in self._memo:
            try:
                problem = self._own(unit[0])
                found = ("", self._upstream(unit)) if not problem else (problem, [])
            except _BlockedError as error:
                found = (str(error), [])
            except StaprojError as error:
                found = (error.message, [])
            self._memo[key] = found
        result: tuple[str, list[Unit]] = self._memo[key]
        return result

    def _own(self, run: str) -> str:
        """Return what keeps a run from being made again, apart from its inputs."""
        key = ("own", run)
        if key not in self._memo:
            self._memo[key] = _record_problem(self.view, run) or self._raw_problem(run)
        return str(self._memo[key])

    def _upstream(self, unit: Unit) -> list[Unit]:
        run, item = unit
        spec = self.view.spec(run)
        if item is not None and item not in spec["items"]:
            raise _BlockedError(f"{run} was not made for {item}")
        found: list[Unit] = []
        for port, use in spec["inputs"].items():
            self._check_input(run, port, use, item)
            found += self.gone_upstream(use, item)
        return list(dict.fromkeys(found))

    def _check_input(self, run: str, port: str, use: Mapping[str, Any], item: str | None) -> None:
        """See that an input is still the one that was read, and the raw data it points at is there."""
        source = str(use["run"])
        if _number(source) >= _number(run):
            raise _BlockedError(f"its record names {source}, which came later, as its input")
        if not self.view.run(source).is_sealed():
            raise _BlockedError(f"its input {source} is not complete")
        now, then = self.view.digests(source, str(use["port"])), use["digest"]
        if item is not None and isinstance(then, Mapping):
            now, then = (d.get(item) if isinstance(d, Mapping) else d for d in (now, then))
        if now != then:
            raise _BlockedError(f"its input {port} is not what {source} holds")
        if self._points_at_raw(source, str(use["port"])):
            for ancestor in self._readers_of_raw(source):
                problem = self._raw_problem(ancestor)
                if problem:
                    raise _BlockedError(problem)

    def gone_upstream(self, use: Mapping[str, Any], item: str | None) -> Iterator[Unit]:
        """Yield the units behind an input that lack files it may need."""
        source = str(use["run"])
        wanted = item if isinstance(use["digest"], Mapping) else None
        for unit in self.units_with_missing(source):
            if wanted is None or unit[1] == wanted or (unit[1] is None and self._lacks_part(unit, wanted)):
                yield unit

    def _lacks(self, unit: Unit, lacking: frozenset[str]) -> bool:
        return unit in self.without or any(_belongs(path, unit[1]) for path in lacking)

    def _lacks_part(self, unit: Unit, item: str) -> bool:
        """Tell whether a unit that made all tilt series lacks files of one of them."""
        return unit in self.without or any(_belongs(path, item) for path in self._lacking(unit[0]))

    def _lacking(self, run: str) -> frozenset[str]:
        """Return the outputs of a run that are gone or have another size."""
        key = ("lacking", run)
        if key not in self._memo:
            directory = self.view.run(run)
            found = []
            for entry in self.view.outputs(run)["files"]:
                try:
                    size: int | None = reading.stat_regular(directory.out / entry["path"]).st_size
                except OSError:
                    size = None
                if size != entry["size"]:
                    found.append(str(entry["path"]))
            self._memo[key] = frozenset(found)
        result: frozenset[str] = self._memo[key]
        return result

    def _raw_problem(self, run: str) -> str:
        """Return which raw data of a run is gone or changed."""
        key = ("raw", run)
        if key not in self._memo:
            self._memo[key] = self._compare_raw(run)
        return str(self._memo[key])

    def _compare_raw(self, run: str) -> str:
        for found in self.view.spec(run)["data"].values():
            for stored, fingerprint in found["files"]:
                path = self.view.layout.absolute(stored)
                try:
                    now = self.view.prints.quick(path)
                except StaprojError:
                    return f"raw data is gone: {stored}"
                if now != fingerprint:
                    return f"raw data was changed: {stored}"
        return ""

    def _points_at_raw(self, run: str, port: str) -> bool:
        """Tell whether an artifact holds paths of raw data instead of data."""
        artifact = self.view.outputs(run)["artifacts"][port]
        parts = list(artifact["items"].values()) if "items" in artifact else [artifact]
        if all("raw_data" in part for part in parts):
            return any(part["raw_data"] for part in parts)
        return bool(self.view.spec(run)["data"]) and ArtifactKind(artifact["kind"]) in _POINTS_AT_FILES

    def _readers_of_raw(self, run: str) -> list[str]:
        """Return the run itself if it read raw data, else all runs behind it that did."""
        key = ("readers", run)
        if key not in self._memo:
            found, waiting, seen = [], [run], {run}
            while waiting:
                spec = self.view.spec(waiting.pop())
                if spec["data"]:
                    found.append(str(spec["run"]))
                    continue
                above = {str(use["run"]) for use in spec["inputs"].values()} - seen
                seen |= above
                waiting += sorted(above)
            self._memo[key] = found
        result: list[str] = self._memo[key]
        return result


class _BlockedError(Exception):
    """A unit cannot be made again."""


def _record_problem(view: View, run: str) -> str:
    """Return what in the record, the stage or the machine keeps a run from being made again."""
    if not view.run(run).is_sealed():
        return "it is not complete"
    spec = view.spec(run)
    image = spec["preimage"]
    if image.get("format") != digest.PREIMAGE_FORMAT:
        return "its record is of another format, so nobody can compare"
    if digest.digest_of(image) != spec["key"]:
        return "its record does not give its key"
    device = spec.get("execution", {}).get("device", "cpu")
    if device != "cpu":
        return f"it was computed on {device}: the same bits are promised on the CPU only"
    try:
        stage = registry.get(spec["stage"])
    except StaprojError:
        return f"its stage {spec['stage']!r} is not installed"
    if stage.cache_version != image["cache_version"]:
        made, now = image["cache_version"], stage.cache_version
        return f"stage {stage.name!r} gives other numbers now (cache_version {made} -> {now})"
    if stage.scope != scope_of(spec):
        return f"stage {stage.name!r} works in another way now (scope {scope_of(spec)} -> {stage.scope})"
    if not stage.deterministic:
        return f"stage {stage.name!r} does not promise the same bytes twice"
    return _params_problem(spec, stage)


def _params_problem(spec: Mapping[str, Any], stage: Any) -> str:
    common = {name: entry["value"] for name, entry in spec["params"].items()}
    tables = [{}, *(spec["item_params"].get(item, {}) for item in spec["items"])]
    for table in tables:
        own = {name: entry["value"] for name, entry in table.items()}
        if table and not own:
            continue
        try:
            stage.params.model_validate_json(digest.canonical({**common, **own}), strict=True)
        except ValueError as error:
            told = str(error).splitlines()
            return f"its parameters do not fit stage {stage.name!r} any more ({' '.join(told[1:2]).strip()})"
    return ""


def _belongs(path: str, item: str | None) -> bool:
    return item is None or path.startswith(f"{item}/")


def _number(run: str) -> int:
    digits = run[1:].partition("-")[0]
    return int(digits) if digits.isdigit() else 0
