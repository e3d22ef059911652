"""Values of the manifest: what they are, whether others would do, and writing them without a run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from staproj.api import param_forms
from staproj.api.tidy import without_empty
from staproj.engine import intent, params, why
from staproj.engine.plan import Node
from staproj.engine.recover import recover
from staproj.engine.view import View
from staproj.errors import LockedError, ManifestError, StaprojError, UsageError
from staproj.project import manifest, manifest_edit, schema, versions
from staproj.project.layout import ITEM_NAME, RUN_ID, RUN_NAME, Layout
from staproj.project.lock import project_lock
from staproj.project.manifest import Change, suggestion
from staproj.stages import registry

_UNWRITTEN = object()


class Settings:
    """Parameters of the steps of one project, as ``staproj.toml`` says now."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layout = Layout(root)

    # ---------------------------------------------------------------------------------------- writing
    def set(
        self,
        sets: Mapping[str, Any],
        items: Sequence[str] | None = None,
        reset: Sequence[str] = (),
        *,
        since: str | None = None,
    ) -> dict[str, Any]:
        """Write ``{"step.param": value}`` into the manifest; comments and order stay, nothing is run.

        With ``items`` values hold for those tilt series only; without, for the whole step, whatever tables
        of single tilt series say. ``reset`` takes keys ``"step.param"`` out, so that the layer below (in the
        end the default) holds again. ``since`` is the ``manifest`` of :meth:`resolved`: refuse if the file
        has changed since.

        Returns ``{"changes": [{"field", "item", "old", "new"}], "stale": [step]}``.

        Raises
        ------
        UsageError, ManifestError
            If a name is unknown or a value does not fit, alone or with the others; nothing is written then.
        LockedError
            If the file changed meanwhile.
        """
        schema.require_writable(self.layout)
        recover(self.layout)
        with project_lock(self.layout.lock, purpose="writing values into the manifest"):
            view = View.open(self.root)
            if since is not None and since != _digest(view.manifest.text):
                raise _changed(self.layout.manifest)
            asked, items = _full(sets), items or None
            wanted = [*_edits(view, asked, items), *_resets(view, reset, asked, items)]
            edits = _written_anew(view, wanted)
            after = View.open(self.root, edits)
            after.check()
            _check_none(after, wanted, asked)
            told = _told(view, after, edits)
            if edits:
                self._write(view, without_empty(after.manifest.text, edits), told)
        verdicts = why.assess_all(View.open(self.root))
        return {"changes": told, "stale": [name for name, verdict in verdicts.items() if verdict.to_do]}

    def _write(self, view: View, text: str, told: Sequence[Mapping[str, Any]]) -> None:
        """Replace the manifest (the lock is held), with versions of what stood and of what stands."""

        def replaced(old: str) -> str:
            if old != view.manifest.text:
                raise _changed(self.layout.manifest)
            return text

        heads = versions.current_heads(self.layout)
        last = versions.latest(self.layout)
        before = view.manifest.text
        if last is None or last.manifest != before:
            versions.write(self.layout, manifest=before, heads=heads, why="before values were set")
        new = manifest_edit.rewrite(self.layout.manifest, replaced)
        versions.write(self.layout, manifest=new, heads=heads, why=_why(told))

    # ---------------------------------------------------------------------------------------- looking
    def resolved(self, step: str, item: str | None = None) -> dict[str, Any]:
        """Return every parameter of a step (or of one tilt series of it) as it stands now, for a form.

        ``{"step", "stage", "scope", "item", "items", "head", "manifest", "problem", "params"}``; each of
        ``params`` has name, value, text (as one types it), layer, default, unit, help, type, element,
        choices, bounds, optional, required, per_item, data_path, and last: the value in the head run.
        ``problem`` says what is wrong with what stands, if anything is.
        """
        view = View.open(self.root, with_template=True)
        node = view.graph.node(step)
        items = _items_of(view, node)
        if item is not None:
            _check_items(view, [step], [item])
        values, layers, problem = _values(view, node, item)
        last = _last(view, step, item)
        told = []
        for name, form in param_forms.describe(node.spec).items():
            value = values.get(name)
            told.append(
                {
                    **form,
                    "value": value,
                    "text": param_forms.as_text(node.spec, name, value),
                    "layer": layers.get(name, params.DEFAULT),
                    "last": last.get(name),
                }
            )
        return {
            "step": step,
            "stage": node.spec.name,
            "scope": node.spec.scope,
            "item": item,
            "items": items,
            "head": view.heads.get(step),
            "manifest": _digest(view.manifest.text),
            "problem": problem,
            "params": told,
        }

    def check(self, step: str, name: str, text: Any) -> str:
        """Return "" if ``text`` is a value for a parameter, else what is wrong with it, in one line."""
        text = text.strip() if isinstance(text, str) else text
        try:
            spec = registry.get(manifest.load(self.layout.manifest).step(step).stage)
            value = params.parse_value(spec, name, text, step=step)
        except StaprojError as error:
            return _one_line(error).removeprefix(f"{name} = {' '.join(str(text).split())}: ")
        if value is None and spec.params.model_fields[name].default is not None:
            return "cannot be none: give a value"
        return ""

    def check_all(self, step: str, sets: Mapping[str, Any], items: Sequence[str] | None = None) -> str:
        """Return "" if values ``{"param" or "step.param": value}`` do together, else what is wrong."""
        try:
            view = View.open(self.root)
            asked = _full(sets, step)
            edits = _edits(view, asked, items)
            after = View.open(self.root, edits)
            for name in dict.fromkeys([step, *(change.keys[1] for change in edits)]):
                node = after.graph.node(name)
                for item in (None, *node.step.items):
                    params.resolve(after.manifest, node.step, node.spec, item=item)
            _check_none(after, edits, asked)
        except StaprojError as error:
            return _one_line(error)
        return ""

    def preview(
        self,
        step: str,
        sets: Mapping[str, Any],
        items: Sequence[str] | None = None,
        from_run: str | None = None,
        *,
        jobs: int = 1,
    ) -> dict[str, Any]:
        """Say what a rerun of ``step`` with these values would do; nothing is written.

        Returns ``{"changes", "stale", "expected", "problem", "command"}``: values that would change in the
        manifest, steps downstream that have a head, what :meth:`Jobs.expect` says (``None`` where the step
        cannot run yet: ``problem`` says why), and the command line that does the same.

        Raises
        ------
        UsageError, ManifestError
            If a value does not fit.
        """
        if RUN_ID.match(step) or RUN_NAME.match(step):
            step, from_run = self.layout.find_run(step).name.step, step
        view = View.open(self.root)
        asked = _full(sets, step)
        start = intent.changes_to_match(view, from_run) if from_run else []
        edits = [*start, *_edits(View.open(self.root, start), asked, items)]
        after = View.open(self.root, edits)
        after.check()
        _check_none(after, edits, asked)
        _check_items(view, [step], items)
        expected, problem = None, ""
        try:
            expected = self._expect(step, asked, items, from_run, jobs)
        except UsageError as error:
            problem = _one_line(error)
        return {
            "changes": [one for one in _told(view, after, edits) if one["old"] != one["new"]],
            "stale": [name for name in after.graph.downstream_of(step) if name in after.heads],
            "expected": expected,
            "problem": problem,
            "command": _command(view, step, asked, items, from_run),
        }

    def _expect(
        self,
        step: str,
        asked: Mapping[str, Any],
        items: Sequence[str] | None,
        from_run: str | None,
        jobs: int,
    ) -> dict[str, Any]:
        from staproj.api.jobs import Jobs

        return Jobs(self.root).expect(
            [step], items=items, sets=asked, jobs=jobs, rerun=True, from_run=from_run
        )


def _full(sets: Mapping[str, Any], step: str | None = None) -> dict[str, Any]:
    """Return values by ``step.param``; names without a step are of ``step``."""
    return {name if "." in name or step is None else f"{step}.{name}": v for name, v in sets.items()}


def _edits(view: View, sets: Mapping[str, Any], items: Sequence[str] | None) -> list[Change]:
    """Return the edits of the manifest that values ask for, tilt series checked."""
    edits = intent.changes_for(view, sets, items)
    _check_items(view, dict.fromkeys(change.keys[1] for change in edits), items)
    return edits


def _resets(
    view: View, names: Iterable[str], sets: Mapping[str, Any], items: Sequence[str] | None
) -> list[Change]:
    """Return the edits that take keys out: of the whole step with all its tilt series, or of ``items``."""
    edits = []
    for full in names:
        step, dot, name = full.partition(".")
        if not dot:
            raise UsageError(f"{full!r} does not say which step", hint=f"write --reset STEP.{full}")
        if full in sets:
            raise UsageError(f"{full} is both set and reset", hint="do one of them")
        node = view.graph.node(step)
        _check_items(view, [step], items)
        tables = node.step.items
        written = name in node.step.params or any(name in table for table in tables.values())
        known = node.spec.params.model_fields
        if name not in known and not written:
            raise UsageError(
                f"stage {node.spec.name!r} has no parameter {name!r}",
                where=f"--reset {full}",
                hint=suggestion(name, known, "parameters"),
            )
        if items is None:
            edits.append(Change(("step", step, "params", name), None))
        edits += [Change(("step", step, "item", item, name), None) for item in (items or tables)]
    return edits


def _written_anew(view: View, edits: Iterable[Change]) -> list[Change]:
    """Leave out edits after which the manifest would say what it says already."""
    return [one for one in edits if _written(view, one) != (_UNWRITTEN if one.value is None else one.value)]


def _written(view: View, change: Change) -> Any:
    """Return what stands at the place of an edit."""
    step = view.manifest.steps[change.keys[1]]
    table = step.params if change.keys[2] == "params" else step.items.get(change.keys[3], {})
    return table.get(change.keys[-1], _UNWRITTEN)


def _check_items(view: View, steps: Iterable[str], items: Sequence[str] | None) -> None:
    """Refuse tilt series that a step does not have."""
    for step in steps if items else ():
        node = view.graph.node(step)
        if node.spec.scope != "item":
            raise UsageError(
                f"step {step!r} runs once for the whole project, not once a tilt series",
                hint="leave out --item",
            )
        known = _items_of(view, node)
        for item in items or ():
            if not ITEM_NAME.match(item) or (known and item not in known):
                raise UsageError(
                    f"step {step!r} has no tilt series {item!r}",
                    hint=suggestion(item, known, "tilt series"),
                )


def _items_of(view: View, node: Node) -> list[str]:
    """Return the tilt series of a step (all that are known, where its inputs were never made)."""
    if node.spec.scope != "item":
        return []
    with suppress(ManifestError):  # a value that does not fit: the form is there to correct it
        found = view.expected(node.name).items
        if found:
            return list(found)
    return sorted(view.all_items())


def _check_none(after: View, edits: Iterable[Change], asked: Mapping[str, Any]) -> None:
    """Refuse "none" where a layer below gives a value: TOML cannot say none over it."""
    for change in edits:
        step, name = change.keys[1], change.keys[-1]
        if change.value is not None or f"{step}.{name}" not in asked:
            continue
        item = change.keys[3] if change.keys[2] == "item" else None
        values, layers, _ = _values(after, after.graph.node(step), item)
        if values.get(name) is not None:
            raise UsageError(
                f"{step}.{name} cannot be set to none here: {layers[name]} says {values[name]!r}",
                hint="take that value out of staproj.toml first",
            )


def _values(view: View, node: Node, item: str | None) -> tuple[Mapping[str, Any], Mapping[str, str], str]:
    """Return values, their layers, and what is wrong with them: then they are as written."""
    try:
        found = params.resolve(
            view.manifest, node.step, node.spec, item=item, template=view.template.get(node.name)
        )
    except ManifestError as error:
        fields = node.spec.params.model_fields
        plain = {name: None if entry.is_required() else entry.default for name, entry in fields.items()}
        own = node.step.items.get(item or "", {})
        layers = {**dict.fromkeys(node.step.params, params.STEP), **dict.fromkeys(own, params.ITEM)}
        return {**plain, **node.step.params, **own}, layers, _one_line(error)
    return found.values, found.layers, ""


def _told(before: View, after: View, edits: Iterable[Change]) -> list[dict[str, Any]]:
    """Return old and new value of each parameter that is edited."""
    told = []
    for change in dict.fromkeys(change.keys for change in edits):
        step, name = change[1], change[-1]
        item = change[3] if change[2] == "item" else None
        old, new = (_values(view, view.graph.node(step), item)[0].get(name) for view in (before, after))
        told.append({"field": f"{step}.{name}", "item": item, "old": old, "new": new})
    return told


def _last(view: View, step: str, item: str | None) -> dict[str, Any]:
    """Return the parameters that the head of a step was made with (nothing if it cannot be read)."""
    head = view.heads.get(step)
    if head is None:
        return {}
    try:
        spec = view.spec(head)
        table = {**spec["params"], **(spec["item_params"].get(item, {}) if item else {})}
        return {name: entry["value"] for name, entry in table.items()}
    except (StaprojError, KeyError, TypeError, AttributeError):
        return {}


def _command(
    view: View, step: str, asked: Mapping[str, Any], items: Sequence[str] | None, from_run: str | None
) -> list[str]:
    words = ["staproj", "rerun", from_run or step]
    for full, value in asked.items():
        name = full.partition(".")[2]
        spec = view.graph.node(step).spec
        parsed = params.parse_value(spec, name, value, step=step)
        words += ["--set", f"{name}={param_forms.as_text(spec, name, parsed)}"]
    return [*words, *(word for item in items or () for word in ("--item", item))]


def _why(told: Sequence[Mapping[str, Any]]) -> str:
    words = [f"{one['field']}{' of ' + one['item'] if one['item'] else ''}" for one in told]
    more = f" … ({len(words)} values)" if len(words) > 4 else ""
    return "set " + ", ".join(words[:4]) + more


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _changed(path: Path) -> LockedError:
    return LockedError("the manifest changed meanwhile", where=str(path), hint="look at it, then try again")


def _one_line(error: StaprojError) -> str:
    return " ".join(error.message.split())
