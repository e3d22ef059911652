"""STAR files through the starfile package, without its losses.

Numbers are written with all their digits, columns that hold names stay text (``01`` is a name, not the
number 1), files appear by rename and hold no date, so that equal content gives equal bytes.
"""

from __future__ import annotations

import linecache
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from staproj.errors import FormatError, InputError

if TYPE_CHECKING:
    import pandas as pd

TEXT_COLUMNS = (
    "rlnTomoName",
    "rlnTomoTiltSeriesStarFile",
    "rlnTomoParticleName",
    "rlnOpticsGroupName",
    "rlnMicrographName",
    "rlnMicrographMovieName",
    "rlnMicrographNameEven",
    "rlnMicrographNameOdd",
    "rlnImageName",
    "rlnTomoVisibleFrames",
    "rlnTomoTiltSeriesName",
    "rlnTomoParticlesFile",
    "rlnTomoTomogramsFile",
    "rlnTomoReferenceMap1File",
    "rlnTomoReferenceMap2File",
    "rlnTomoReferenceMaskFile",
)
"""Columns whose values are names even where they look like numbers."""

Block: TypeAlias = "pd.DataFrame | dict[str, Any]"


def read_star(path: Path) -> dict[str, Block]:
    """Read every block: loops as tables, single values as dicts; block names without ``data_``.

    Raises
    ------
    InputError
        If the file is missing.
    FormatError
        If it is not a STAR file, or a row has more or fewer values than there are columns.
    """
    import pandas as pd
    import starfile

    if not path.is_file():
        raise InputError("the STAR file does not exist", where=str(path))
    # starfile reads through linecache, which after a failed read would serve the old lines of this file.
    linecache.clearcache()
    try:
        blocks = starfile.read(path, always_dict=True, parse_as_string=list(TEXT_COLUMNS))
    except Exception as error:
        raise FormatError(f"cannot read the STAR file: {error}", where=str(path)) from error
    if not blocks or any(block is None for block in blocks.values()):
        raise FormatError("the file holds no complete STAR block", where=str(path))
    for name, block in blocks.items():
        if isinstance(block, pd.DataFrame) and len(block) and block.isna().all(axis=1).any():
            raise FormatError(f"block data_{name} has rows without values", where=str(path))
    return dict(blocks)


def require_columns(block: Block | None, columns: tuple[str, ...], path: Path, name: str) -> pd.DataFrame:
    """Return a loop block that has all ``columns``; a block of single values becomes a table of one row.

    Raises
    ------
    FormatError
        If the block or a column is missing.
    """
    import pandas as pd

    if block is None:
        raise FormatError(f"block data_{name} is missing", where=str(path))
    table = pd.DataFrame([block]) if isinstance(block, dict) else block
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise FormatError(f"block data_{name} has no {', '.join('_' + m for m in missing)}", where=str(path))
    return table


def loop(columns: Mapping[str, Any] | list[dict[str, Any]]) -> pd.DataFrame:
    """Return a loop block from columns (arrays or single values) or rows."""
    import pandas as pd

    return pd.DataFrame(columns)


def write_star(path: Path, blocks: Mapping[str, Block]) -> None:
    """Write blocks in order (write-new, fsync, rename); floats keep every digit."""
    import starfile

    text = starfile.to_string(dict(blocks), float_format=None)
    body = "\n".join(line for line in text.split("\n") if not line.startswith("# Created by"))
    temporary = path.with_name(path.name + ".part")
    with temporary.open("w", encoding="utf-8") as handle:
        handle.write("# version 50001\n\n" + body.strip("\n") + "\n\n")
        handle.flush()
        os.fsync(handle.fileno())
    temporary.replace(path)
