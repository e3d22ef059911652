"""Help pages on what is not one command: words, parameters, units, projects, results."""

from __future__ import annotations

WORDS = """Words that staproj uses
stage      a kind of computation, such as `ctf` or `refine`; `staproj stages` lists them
step       a stage in the pipeline of this project, with its parameters (a table [step.X] in staproj.toml)
item       what a step is repeated over: a tilt series
run        one execution of one step; kept for ever under runs/r0042-<step>/
head       the run that stands for a step now
version    the settings and the heads at one moment; `staproj version list`
artifact   what a run gives: tilt_series, alignment, ctf, tomograms, particles, map, half_maps, mask, fsc ...
view       one image of a tilt series (IMOD: view, RELION: tilt image)
pose       position and orientation of a particle
half-set   1 or 2: particles that never see the other half, for the gold-standard FSC
"""

PARAMETERS = """How parameters are set, and which value wins
1. the default of the stage (`staproj stages NAME`)
2. [site.STAGE] in staproj.toml: values of this laboratory
3. the template; [microscope] for the facts of the data
4. [step.X.params]
5. [step.X.item.TS_01]: for one tilt series only
6. --set X.param=value on the command line: used at once, and written into staproj.toml when the run
   succeeds (as 4, with --item as 5), so that the next `staproj run` uses it too

A later line wins. The record of a run keeps every value with the line it came from: `staproj show RUN`.
Values are written as in TOML: 6, 2.5, true, "text", [1, 2], { TS_01 = 3.0 }. Text may go without quotes.
"""

UNITS = """Units and signs
The last part of a name is its unit: _angstrom, _um, _nm, _mm, _deg, _kv, _px, _e_per_angstrom2.
Positions      Å from the centre of the tomogram (index n//2), x y z; changing the binning changes nothing
Defocus        µm, positive = underfocus
Tilt axis      deg, counter-clockwise from the vertical (+y) axis of the image
Contrast       protein is dark in raw images and tomograms, bright in maps and averages
Half maps      resolution at FSC 0.143; a map against a known structure at FSC 0.5
Symmetry axis  the reference has it on +z, which points away from the centre of the particle's surface
"""

STATES = """What `staproj status` says of a step
fresh         its head was made from the present parameters and the present results upstream
stale         something it depends on changed; `staproj why STEP` names what, with the old and the new value
never-run     there is no result yet
missing       files of its result are gone
running       somebody is at it
failed        its last run ended with an error; `staproj log RUN`
interrupted   its last run was stopped; `staproj run` goes on from what was finished
unreachable   its last run is on another machine that says nothing
Nothing stale is ever deleted: old runs stay, `staproj diff r0003 r0017` compares them.
"""

FILES = """What lies where in a project
staproj.toml            what you want: edit it, comments survive
runs/r0042-refine/      one run: spec.json (what was asked), meta.h5 (tables, curves, metrics), log/, out/
versions/               manifest and heads at each moment
exports/                files for other programs
Every file under runs/ can be asked where it comes from: `staproj lineage FILE`.
The directory can be moved or copied as a whole. Maps are MRC files with the pixel size in the header.
"""

RESULTS = """How to judge a run
`staproj show RUN` prints the verdict (one line with numbers), the metrics, the parameters with the layer
each came from, the inputs and the output files. `--curve NAME` draws a curve (residuals, CTF fit, score
histogram, FSC), `--table NAME` prints a table. `staproj score PROJECT --truth DIR` compares a simulated
dataset with its truth.
"""

TOPICS = {
    "words": WORDS,
    "parameters": PARAMETERS,
    "units": UNITS,
    "states": STATES,
    "files": FILES,
    "results": RESULTS,
}
