"""The one place that decides whether a step is fresh, and says why not.

The planner, the command line and the screens all ask :func:`assess`; it compares the pre-image stored with
the head of a step with the one its inputs and the manifest would give now, field by field. No payload is
opened: small records and ``stat`` only.

States:

=================== ============================================================= ==================
state               meaning                                                       `run` makes it anew
=================== ============================================================= ==================
fresh               the head is what would be made now                            no
soft                the same, but made by another version of the software         no
stale               parameters, inputs, raw data or the stage's numbers differ    yes
never-run           there is no complete run                                      yes
unknown             the head's record has a form that this version cannot compare no, `rerun` does
missing-recreatable files are gone that can be made again from what is there      if not cleared
missing-lost        files are gone, and what they were made from is gone too      yes, it tries
running, queued     a run is going on (queued: waits for its turn)                no
unreachable         a run is going on elsewhere, or died there: nobody can tell   yes
failed, interrupted the newest run ended so, and no head is good enough           yes
=================== ============================================================= ==================

A reason is ``{"kind", "field", "old", "new"}``:

=============== ======================= ===========================================================
kind            field                   meaning
=============== ======================= ===========================================================
param           ctf.defocus_max_um      a parameter of the step (or of one upstream that caused it)
item            ctf.TS_03[.name]        a tilt series came, went, or has another value of its own
data            import.movies           raw data changed
input           motion.tilt_series      an input has other content
upstream        motion                  a step it depends on is itself out of date
cache_version   ctf                     the stage's numbers changed with the software
stage           ctf                     the step runs another stage
software        staproj, git            made by another version: nothing to do (soft)
unknown         record_format           form of the record that this version cannot compare
output          runs/…/out/…            a file of the head is gone or has another size
cleared         runs/r0042-ctf          files were deleted on purpose: how many (old), bytes (new)
lost            ctf                     what keeps missing files from being made again
failed          ctf[.TS_03]             what the newest run said when it failed
interrupted     ctf                     the newest run (old) stopped without a word
running, queued ctf                     the newest run (new) is going on or waits; the head is old
unreachable     ctf                     the same, on a machine that does not answer
never-run       ctf                     there is no complete run
=============== ======================= ===========================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from staproj.engine import accept, digest, environment
from staproj.engine.reasons import ROOT_KINDS, Reason, explain, unique
from staproj.engine.view import RECORD_FORMAT, Expected, View
from staproj.errors import StaprojError
from staproj.project import cleared, reading, runs
from staproj.project.layout import RunName

__all__ = ["Reason", "Verdict", "assess", "assess_all", "explain", "missing_outputs", "notes_on"]

FRESH, SOFT, STALE, NEVER_RUN, UNKNOWN = "fresh", "soft", "stale", "never-run", "unknown"
RECREATABLE, LOST = "missing-recreatable", "missing-lost"
RUNNING, QUEUED, UNREACHABLE = "running", "queued", "unreachable"
FAILED, INTERRUPTED = "failed", "interrupted"
STATES = (
    FRESH,
    SOFT,
    STALE,
    NEVER_RUN,
    UNKNOWN,
    RECREATABLE,
    LOST,
    RUNNING,
    QUEUED,
    INTERRUPTED,
    UNREACHABLE,
    FAILED,
)
MOST_FILES = 20
_SOFTWARE = ("staproj", "git")


@dataclass
class Verdict:
    """State of one step. ``run`` is its head; ``latest`` the newest run, whatever became of it.

    ``result`` is the verdict of the head in its own words, ``going_on`` how far a run is that is going on.

    ``outdated``: the head is not what would be made now (or there is none), so what depends on it is out of
    date too. ``to_do``: a plain `run` makes the step anew.
    """

    step: str
    stage: str
    state: str
    run: str | None
    reasons: list[Reason] = field(default_factory=list)
    latest: str | None = None
    notes: list[str] = field(default_factory=list)
    expected: Expected | None = None
    outdated: bool = True
    to_do: bool = True
    result: str = ""
    going_on: str = ""

    @property
    def fresh(self) -> bool:
        """Tell whether there is nothing to do (a rerun of what is good may be going on)."""
        return not self.to_do

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of ``status --json``."""
        return {
            "step": self.step,
            "stage": self.stage,
            "state": self.state,
            "run": self.run,
            "to_do": self.to_do,
            "verdict": self.result,
            "latest": self.latest,
            "going_on": self.going_on,
            "reasons": [reason.as_dict() for reason in self.reasons],
        }


def assess_all(view: View) -> dict[str, Verdict]:
    """Judge every step, in order."""
    view.check()
    verdicts: dict[str, Verdict] = {}
    for name in view.graph.nodes:
        verdicts[name] = verdict = assess(view, name, verdicts)
        verdict.result = _result(view, verdict.run)
    view.prints.save()
    return verdicts


def assess(
    view: View, name: str, upstream: Mapping[str, Verdict], *, only: Iterable[str] | None = None
) -> Verdict:
    """Judge one step, given the verdicts on the steps before it.

    ``only`` confines the question to some tilt series.
    """
    expected = view.expected(name)
    head = view.heads.get(name)
    verdict = Verdict(name, expected.node.spec.name, NEVER_RUN, head, notes=notes_on(view, expected))
    verdict.expected = expected
    if head is not None:
        _judge_head(view, verdict, expected, head, upstream, only)
    else:
        verdict.reasons = [Reason(NEVER_RUN, name, None, None)]
    _look_at_newest(view, verdict)
    return verdict


def notes_on(view: View, expected: Expected) -> list[str]:
    """Return remarks that change nothing: raw data out of reach, values for unknown tilt series."""
    step = expected.node.step
    known = view.all_items() if step.items else set()
    strangers = sorted(set(step.items) - known) if known else []
    there = ", ".join(sorted(known))
    told = [f"[step.{step.name}.item.{i}] is for no tilt series of this project ({there})" for i in strangers]
    return [*expected.notes, *told]


def _judge_head(
    view: View,
    verdict: Verdict,
    expected: Expected,
    head: str,
    upstream: Mapping[str, Verdict],
    only: Iterable[str] | None,
) -> None:
    """Set state and reasons of a step that has a head."""
    strange = unknown_format(view, head)
    if strange is not None:
        verdict.state, verdict.reasons = UNKNOWN, [strange]
        verdict.outdated = verdict.to_do = False
        verdict.notes.append(f"`staproj rerun {verdict.step}` makes a run that can be compared")
        return
    try:
        spec = view.spec(head)
        missing = absent(view, head)
    except StaprojError as error:
        verdict.state = LOST
        verdict.reasons = [Reason("output", f"{verdict.step}: {head}", None, error.message)]
        return
    verdict.reasons = _differences(view, verdict, expected, spec, upstream, only)
    verdict.outdated = bool(verdict.reasons)
    verdict.to_do = verdict.outdated or bool(missing.gone)
    if verdict.outdated:
        verdict.state = STALE
    else:
        soft = software_changed(spec)
        verdict.state = SOFT if soft else FRESH
        verdict.reasons = soft
    if missing.gone or missing.n_cleared:
        _say_missing(view, verdict, head, missing)


def _differences(
    view: View,
    verdict: Verdict,
    expected: Expected,
    spec: Mapping[str, Any],
    upstream: Mapping[str, Verdict],
    only: Iterable[str] | None,
) -> list[Reason]:
    """Return what makes the head differ from what would be made now."""
    name = verdict.step
    if expected.image is None:
        by_source = {f"{use['step']}.{use['port']}": use["run"] for use in spec.get("inputs", {}).values()}
        reasons = [Reason("input", source, by_source.get(source), None) for source in expected.lacking]
    else:
        old, new = spec["preimage"], expected.image
        if only is not None and expected.node.spec.scope == "item":
            old, new = digest.restrict(old, only), digest.restrict(new, only)
        standing, told = accept.stand_in(view.accepted, old, new)
        verdict.notes += told
        new_inputs = {port: use.as_dict() for port, use in expected.inputs.items()}
        reasons = explain(view, name, old, standing, spec.get("inputs", {}), new_inputs)
    for parent in dict.fromkeys(expected.node.parents()):
        above = upstream.get(parent)
        if above is not None and above.outdated:
            reasons.append(Reason("upstream", parent, above.run, None))
            reasons += [r for r in above.reasons if r.kind in ROOT_KINDS]
    return unique(reasons)


def unknown_format(view: View, run: str) -> Reason | None:
    """Return the format of a run's record or pre-image if this version cannot compare it."""
    try:
        raw = view.raw_spec(run)
    except StaprojError:
        return None
    image = raw.get("preimage")
    found = image.get("format") if isinstance(image, Mapping) else None
    known = (
        ("record_format", raw.get("record_format"), RECORD_FORMAT),
        ("preimage.format", found, digest.PREIMAGE_FORMAT),
    )
    for name, value, expected in known:
        if isinstance(value, int) and not isinstance(value, bool) and value != expected:
            return Reason("unknown", name, value, expected)
    return None


def software_changed(spec: Mapping[str, Any]) -> list[Reason]:
    """Return how the software differs from that which made a run (version and commit; never in a key)."""
    now, then = environment.software(), spec.get("software", {})
    return [
        Reason("software", name, then.get(name), now.get(name))
        for name in _SOFTWARE
        if then.get(name) != now.get(name)
    ]


@dataclass(frozen=True)
class Absent:
    """Files of a sealed run that are not there: lost ones, and how many were cleared on purpose."""

    gone: list[Reason]
    n_cleared: int
    cleared_bytes: int


def absent(view: View, run: str) -> Absent:
    """Return which files of a sealed run are gone or have another size (``stat`` only)."""
    directory = view.run(run)
    on_purpose = cleared.cleared_paths(directory)
    gone, count, n_bytes = [], 0, 0
    for entry in view.outputs(run).get("files", []):
        path = directory.out / entry["path"]
        try:
            size: int | None = reading.stat_regular(path).st_size
        except OSError:
            size = None
        if size == entry["size"]:
            continue
        if size is None and entry["path"] in on_purpose:
            count, n_bytes = count + 1, n_bytes + entry["size"]
        else:
            gone.append(Reason("output", view.layout.relative(path), entry["size"], size))
    return Absent(gone, count, n_bytes)


def missing_outputs(view: View, run: str) -> list[Reason]:
    """Return files of a sealed run that nobody cleared and that are gone or have another size."""
    return absent(view, run).gone


def _say_missing(view: View, verdict: Verdict, head: str, missing: Absent) -> None:
    """Say which files are gone, and whether they can be made again from what is there."""
    from staproj.engine import recreate

    found = missing.gone[:MOST_FILES]
    if len(missing.gone) > MOST_FILES:
        found.append(Reason("output", f"{len(missing.gone) - MOST_FILES} more files of {head}", None, None))
    if missing.n_cleared:
        place = view.layout.relative(view.run(head).path)
        found.append(Reason("cleared", place, missing.n_cleared, missing.cleared_bytes))
    if verdict.outdated and not missing.gone:
        verdict.reasons += found  # they are made anew with other values anyhow
        return
    possible, blocked = recreate.recreatable(view, head, view.memo)
    verdict.state = RECREATABLE if possible else LOST
    told = [] if possible else [Reason("lost", verdict.step, None, blocked)]
    verdict.reasons = [*told, *found, *verdict.reasons]


def _result(view: View, head: str | None) -> str:
    """Return how the head of a step went, in its own words."""
    if head is None:
        return ""
    try:
        return str(runs.state_of(view.run(head)).event.get("verdict") or "")
    except StaprojError:
        return ""


def _progress(view: View, name: RunName, found: runs.RunState) -> str:
    """Return how far a run is that is going on, or what it waits for."""
    from staproj.engine.jobs import heartbeat

    if found.state == QUEUED:
        return f"{name.id}: {found.event.get('message') or 'waits for its turn'}"
    if found.state == UNREACHABLE:
        return f"{name.id}: begun on {found.event.get('host')}; it does not answer"
    beat = heartbeat.read(view.layout.run(name))
    done, total = beat.get("items_done"), beat.get("items_total")
    told = [f"{done} of {total} done"] if isinstance(total, int) and total > 1 else []
    told += [str(beat[key]) for key in ("item", "message") if beat.get(key)]
    return f"{name.id}: {', '.join(told) or 'at work'}"


def _look_at_newest(view: View, verdict: Verdict) -> None:
    """Let a newer run that is going on, failed or broke off show in the state."""
    newest = view.newest.get(verdict.step)
    if newest is None:
        return
    verdict.latest = newest.id
    if newest.id == verdict.run:
        return
    found = runs.state_of(view.layout.run(newest))
    if found.state in (RUNNING, QUEUED, UNREACHABLE):
        verdict.state = found.state
        verdict.going_on = _progress(view, newest, found)
        verdict.reasons = [Reason(found.state, verdict.step, verdict.run, newest.id), *verdict.reasons]
    elif found.state == FAILED and verdict.to_do:
        verdict.state = FAILED
        failed = found.event.get("items") or {}
        told = [Reason(FAILED, f"{verdict.step}.{item}", None, text) for item, text in failed.items()]
        told = told or [Reason(FAILED, verdict.step, None, found.event.get("message"))]
        verdict.reasons = [*told, *verdict.reasons]
    elif found.state == INTERRUPTED and verdict.to_do:
        verdict.state = INTERRUPTED
        verdict.reasons = [Reason(INTERRUPTED, verdict.step, newest.id, None), *verdict.reasons]
