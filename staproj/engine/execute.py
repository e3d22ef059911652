"""Make one run of one step: reserve, compute item by item, seal.

Order on disk, so that a stop at any moment leaves either a sealed run or one that is plainly not::

    mkdir runs/r0042-ctf, spec.json, env.json          what is to be made
    attempt-1/out/<item>/…, items/<item>/item.json     one finished item after the other
    attempt-1/out -> out, meta.h5                      all of them
    (manifest, where the command line set a value)
    outputs.json, SEALED                               complete (``sealing`` says what is durable when)
"""

from __future__ import annotations

import shutil
import traceback
from contextlib import ExitStack, suppress
from typing import Any

from staproj.engine import (
    attempts,
    checkpoints,
    digest,
    environment,
    outputs,
    resources,
    runlog,
    sealing,
    spec,
)
from staproj.engine.crew import Crew, Listener
from staproj.engine.events import ProgressEvent
from staproj.engine.items import ItemTask
from staproj.engine.jobs.heartbeat import Beat
from staproj.engine.meter import Meter
from staproj.engine.options import Options, Outcome, Request
from staproj.errors import (
    CancelledError,
    InputError,
    StageError,
    StaprojError,
    StorageError,
)
from staproj.project import atomic, index, record, runs

__all__ = ["Options", "Outcome", "Request", "execute"]


def execute(request: Request, options: Options) -> Outcome:
    """Make one run.

    Raises
    ------
    StageError
        If the stage failed on one or more items; finished items are kept for the next run.
    CancelledError
        If the person stopped it.
    StorageError
        If the disk is full.
    """
    work = _Work(request, options)
    try:
        work.prepare()
        work.compute()
        outcome = work.seal()
    except (KeyboardInterrupt, CancelledError) as error:
        said = str(error) if isinstance(error, KeyboardInterrupt) else ""
        work.close("interrupted", message=said or "stopped by the person who ran it")
        if isinstance(error, CancelledError):
            raise
        raise CancelledError(
            f"stopped during {work.run.id} ({work.step})",
            where=str(work.run.path.name),
            hint="`staproj resume` goes on: finished tilt series are kept",
        ) from None
    except BaseException as error:
        full = atomic.is_disk_full(error)  # nothing is wrong with the step: it can be gone on with
        failed = {item: _one_line(e) for item, e in work.failed.items()}
        kind = type(error).__name__
        work.close("interrupted" if full else "failed", message=_one_line(error), error=kind, items=failed)
        if full:
            where = getattr(error, "where", None) or work.run.path.name
            raise atomic.disk_full_error(str(where), command="`staproj resume`") from error
        raise
    finally:
        work.held.close()
    request.view.prints.save()
    return outcome


class _Work:
    """One run while it is made."""

    def __init__(self, request: Request, options: Options) -> None:
        self.request = request
        self.options = options
        self.view = request.view
        self.expected = request.expected
        self.node = request.expected.node
        self.step = self.node.name
        self.expected.check_ready()
        self.units = self._choose_units()
        image = self.expected.image or {}
        self.image = digest.restrict(image, [u for u in self.units if u]) if self.item_scope else image
        self.meter = Meter()
        self.held = ExitStack()
        self.beat: Beat | None = None
        self.device, self.instead = resources.device_used(self.options.device)
        self.failed: dict[str, BaseException] = {}
        self.reused: list[str] = []
        self.done: dict[str | None, dict[str, Any]] = {}
        self._check_data()
        if request.resume is not None:
            self.run = request.resume
            self.attempt = attempts.claim_next(self.view, self.run, self.image)
        else:
            self.run = runs.reserve(self.view.layout, self.step)
            self.attempt = self.run.attempt_dir(1)
        self.among = outputs.candidates(self.view, self.step, exclude=self.run) if request.reuse else []

    @property
    def item_scope(self) -> bool:
        return self.node.spec.scope == "item"

    def _choose_units(self) -> tuple[str | None, ...]:
        units = self.expected.units
        if self.request.resume is not None and self.item_scope:
            begun = set(self.view.spec(self.request.resume.id)["items"])
            chosen = tuple(unit for unit in units if unit in begun)
        elif self.request.items is None or not self.item_scope:
            chosen = units
        else:
            image = self.expected.image or {}
            asked = set(self.request.items)
            among = outputs.candidates(self.view, self.step)
            chosen = tuple(
                unit
                for unit in units
                if unit in asked
                or outputs.find_finished(self.view, among, digest.item_key(image, unit), unit) is not None
            )
        if not chosen:
            raise InputError(
                f"step {self.step!r} has no tilt series to work on",
                where=", ".join(use.source for use in self.expected.inputs.values()),
                hint="its inputs have no tilt series in common (or none of those asked for)",
            )
        return chosen

    def _check_data(self) -> None:
        for pattern, found in self.expected.data.items():
            if not found["files"]:
                raise InputError(
                    "no file matches this pattern of raw data",
                    where=f"{pattern} (step {self.step!r})",
                    hint="patterns start at the project directory, or are absolute",
                )

    def prepare(self) -> None:
        """Write what is to be made, before anything is computed; or take over what an earlier try made."""
        if self.request.resume is None:
            with atomic.storage_errors(self.run.path):
                self.attempt.out.mkdir(parents=True)
                self.run.log.parent.mkdir()
            atomic.write_json(self.run.spec, self._spec(), sync=False)
        self.beat = self.held.enter_context(Beat(self.run))
        self.held.enter_context(self.options.turn(self.run, self.node))  # may wait for others
        self.meter = Meter()
        env = environment.collect(threads=self.options.threads, device=self.device)
        if self.request.resume is None:
            atomic.write_json(self.run.env, env, sync=False)
            runs.note_started(self.run, self.attempt.number)
        else:
            env["earlier_attempts"] = attempts.earlier_environments(self.run)
            atomic.write_json(self.run.env, env, sync=False)
            attempts.take_over(self.run, self.attempt)
        self._log(runlog.beginning(self.run.id, self.expected, self.units, env))
        self._tell("step", total=len(self.units))

    def compute(self) -> None:
        """Make every item, or take it from an earlier run; one that fails does not stop the others."""
        left = [item for item in self.units if not self._already_made(item)]
        jobs = max(1, min(self.options.jobs, len(left)))
        listener = Listener(self._heard, self._finished, self._note_failure)
        cancelled = lambda: self.options.cancelled() or self.run.cancel.exists()  # noqa: E731
        try:
            Crew(self.view, self.attempt, jobs, cancelled, listener).run(
                [self._task(item, max(1, self.options.threads // jobs)) for item in left]
            )
        finally:
            for item in [] if self._is_anothers() else left:
                self._discard_unfinished(item)
        if self.failed:
            raise self._stage_error()

    def seal(self) -> Outcome:
        """Put the run together and mark it complete."""
        run = self.run
        if self._is_anothers():
            raise CancelledError("another process has taken this run over", where=run.path.name)
        image = record.run_bytes(
            attributes={"run": run.id, "step": self.step, "stage": self.node.spec.name, "key": self.key},
            params=self.expected.common.table(),
            items={item: run.item_record(item) for item in self.units},
            digests={item: self.done[item].get("record_sha256") for item in self.units},
        )
        usage = {
            "wall_s": self.meter.wall_s,
            "cpu_s": self.meter.cpu_s,
            "peak_rss_bytes": max(entry["peak_rss_bytes"] for entry in self.done.values()),
        }
        verdict = self._verdict()

        def last_words() -> None:
            warning = any(self.done[item]["warning"] for item in self.units)
            runs.note(run, "sealed", reused=self.reused, verdict=verdict, warning=warning, **usage)
            self._log(f"sealed after {self.meter.wall_s:.1f} s: {verdict}")

        sealing.seal_run(
            run,
            self.attempt,
            record=image,
            outputs=outputs.merge_items({item: self.done[item] for item in self.units}),
            usage=usage,
            before_seal=self.request.before_seal,
            last_words=last_words,
        )
        index.note(self.view.layout, run)
        self._tell("step-done", done=len(self.units), total=len(self.units), message=verdict)
        return Outcome(run.id, self.reused, self.meter.wall_s, verdict)

    def close(self, event: str, **facts: Any) -> None:
        """Mark a run that did not get to its end; finished items stay, nothing half-written does."""
        if self._is_anothers() or self.run.is_sealed():
            return
        with suppress(OSError, StorageError):
            runs.note(self.run, event, durable=True, wall_s=self.meter.wall_s, **facts)
            self._log(f"{event} after {self.meter.wall_s:.1f} s: {facts.get('message', '')}")
        shutil.rmtree(self.attempt.scratches, ignore_errors=True)
        with suppress(OSError):  # out/ stands for a complete run: one that failed while sealing gives it back
            for half in (self.run.outputs, self.run.record):
                half.unlink(missing_ok=True)
            if self.run.out.exists():
                self.attempt.path.mkdir(exist_ok=True)
                self.run.out.rename(self.attempt.out)
        if not self.done and not self.attempt.checkpointed():
            shutil.rmtree(self.attempt.path, ignore_errors=True)
        self.view.prints.save()
        index.note(self.view.layout, self.run)
        with suppress(Exception):
            self._tell("step-failed", message=str(facts.get("message", event)))

    def _is_anothers(self) -> bool:
        """Tell whether this process was taken for dead, and another goes on with the run."""
        return self.run.attempt(self.attempt.number + 1).exists()

    @property
    def key(self) -> str:
        return digest.digest_of(self.image)

    def _already_made(self, item: str | None) -> bool:
        """Take an item from an earlier try of this run, or from an earlier run; else take its checkpoints."""
        key = digest.item_key(self.image, item)
        kept = attempts.kept_item(self.view, self.run, self.attempt, item, key)
        if kept is not None:
            self.done[item] = kept
            runs.note(self.run, "item-kept", item=item)
            self._log("was finished by an earlier try", item)
            return True
        found = outputs.find_finished(self.view, self.among, key, item)
        if found is None:
            source = checkpoints.adopt(self.among, self.attempt, item, key)
            if source is not None:
                self._log(f"goes on from a checkpoint of {source.id}", item)
            return False
        with atomic.storage_errors(self.run.path):
            self.done[item] = outputs.reuse(found, self.run, self.attempt.out, item)
        self.reused.append(item or self.step)
        runs.note(self.run, "item-reused", item=item, source=self.done[item]["reused_from"])
        self._log(f"taken from {self.done[item]['reused_from']}, made from the same", item)
        self._tell("item-done", item=item, done=len(self.done), total=len(self.units))
        return True

    def _task(self, item: str | None, threads: int) -> ItemTask:
        return ItemTask(
            root=self.view.layout.root,
            run=self.run.path,
            attempt=self.attempt.number,
            spec=self.node.spec,
            params=self.expected.resolved(item).model,
            uses=dict(self.expected.inputs),
            item=item,
            key=digest.item_key(self.image, item),
            seed=self.view.manifest.seed,
            threads=threads,
            said=self.instead,
        )

    def _heard(self, item: str | None, done: float, total: float, message: str) -> None:
        kind = "progress" if total > 0 else "item"
        self._tell(kind, item=item, done=done, total=total, message=message)

    def _finished(self, item: str | None, entry: dict[str, Any]) -> None:
        self.done[item] = entry
        self._tell("item-done", item=item, done=len(self.done), total=len(self.units))

    def _log(self, message: str, item: str | None = None) -> None:
        runlog.write(self.run.log, message, item)

    def _discard_unfinished(self, item: str | None) -> None:
        """Take away what an unfinished item has written."""
        if self.run.item_done(item).is_file():
            return
        out = self.attempt.out
        shutil.rmtree(out / item if item else out, ignore_errors=True)
        shutil.rmtree(self.run.item(item), ignore_errors=True)

    def _note_failure(self, item: str | None, error: Exception) -> None:
        """Write down why an item failed; a full disk stops the run at once."""
        with suppress(OSError, StorageError), atomic.open_to_append(self.run.log) as handle:
            told = f"--- {item or self.step} failed\n{''.join(traceback.format_exception(error))}"
            handle.write(told.encode("utf-8", "backslashreplace"))
        if atomic.is_disk_full(error):
            raise atomic.disk_full_error(self.run.path.name) from error
        if isinstance(error, StorageError):
            raise error
        self.failed[item or self.step] = error
        runs.note(self.run, "item-failed", item=item, message=_one_line(error))

    def _stage_error(self) -> StaprojError:
        """Return the error of the run: the stage's own where it ran once, else one that names all items."""
        first = next(iter(self.failed.values()))
        log = f"`staproj log {self.run.id}` has the details"
        if not self.item_scope:
            if isinstance(first, StaprojError):
                if not first.hint:
                    first.hint = log
                return first
            return StageError(
                f"step {self.step!r} failed: {_one_line(first)}", where=self.run.path.name, hint=log
            )
        told = "; ".join(f"{item}: {_one_line(error)}" for item, error in self.failed.items())
        hint = first.hint if isinstance(first, StaprojError) and first.hint else log
        kept = f", {len(self.done)} finished and kept" if self.done else ""
        return StageError(
            f"step {self.step!r} failed on {len(self.failed)} of {len(self.units)} tilt series{kept}: {told}",
            where=f"{self.run.path.name}: {', '.join(self.failed)}",
            hint=hint,
        )

    def _verdict(self) -> str:
        if len(self.done) == 1:
            return str(next(iter(self.done.values()))["verdict"])
        warned = [item for item, entry in self.done.items() if entry["warning"]]
        shown = warned[0] if warned else next(iter(self.done))
        told = str(self.done[shown]["verdict"])
        warning = f", {len(warned)} with a warning" if warned else ""
        return f"{len(self.done)} tilt series{warning}" + (f"; {shown}: {told}" if told else "")

    def _spec(self) -> dict[str, Any]:
        items = [unit for unit in self.units if unit is not None]
        asked = self.options.device
        execution = {"threads": self.options.threads, "device": self.device, "device_asked": asked}
        execution["jobs"] = self.options.jobs
        return spec.build(
            self.view,
            self.expected,
            self.run,
            items=items,
            image=self.image,
            note=self.request.note,
            execution=execution,
        )

    def _tell(
        self,
        kind: Any,
        *,
        item: str | None = None,
        done: float = 0.0,
        total: float = 0.0,
        message: str = "",
    ) -> None:
        event = ProgressEvent(kind, self.step, self.run.id, item, done, total, message)
        if self.beat is not None:
            self.beat.update(event)
        self.options.progress(event)


def _one_line(error: BaseException) -> str:
    if isinstance(error, StaprojError):
        return f"{error.message} ({error.where})" if error.where else error.message
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
