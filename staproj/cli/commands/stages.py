"""``stages`` and ``help``: what can be run, without a project."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from staproj.cli import output
from staproj.cli.options import Json


def stages(
    name: Annotated[str | None, Parameter(help="Stage to explain; all of them are listed without.")] = None,
    /,
    *,
    json: Json = False,
) -> None:
    """List the stages, or explain one: what it takes and gives, and every parameter."""
    from staproj.report.stages import describe, stage_list, stage_page
    from staproj.stages import registry

    if name is None:
        specs = registry.all_stages()
        output.emit([describe(spec) for spec in specs], stage_list(specs), as_json=json)
        return
    spec = registry.get(name)
    output.emit(describe(spec), stage_page(spec), as_json=json)


def help_topic(
    topic: Annotated[str | None, Parameter(help="A topic, a stage or a command.")] = None,
    /,
    *,
    json: Json = False,
) -> None:
    """Explain a topic, a stage or a word of staproj."""
    from staproj.errors import UsageError
    from staproj.report.stages import describe, stage_page
    from staproj.report.topics import TOPICS
    from staproj.stages import registry

    if topic is None:
        lines = ["topics", *(f"  {name.ljust(12)} {page.splitlines()[0]}" for name, page in TOPICS.items())]
        lines += ["", "`staproj help STAGE` explains a stage, `staproj COMMAND --help` a command"]
        output.emit({"topics": list(TOPICS), "stages": registry.names()}, lines, as_json=json)
    elif topic in TOPICS:
        output.emit({"topic": topic, "text": TOPICS[topic]}, TOPICS[topic].rstrip(), as_json=json)
    elif topic in registry.names():
        spec = registry.get(topic)
        output.emit(describe(spec), stage_page(spec), as_json=json)
    else:
        raise UsageError(
            f"there is no help on {topic!r}",
            hint=f"topics: {', '.join(TOPICS)}; `staproj stages` lists the stages",
        )
