"""What stands in ``README.staproj.txt``: how to read a project without staproj."""

TEXT = """This directory is a staproj project: it knows how every file in it was made.

staproj.toml   what is wanted: steps, where their inputs come from, parameters. Edit it as you like.
runs/          one directory a run. out/ holds the results (HDF5, MRC), spec.json what they were made from,
               meta.h5 tables, curves and pictures, outputs.json sizes and SHA-256 of every file. A run with a
               file SEALED is complete and never changes; CLEARED lists results that were deleted on purpose.
versions/      staproj.toml and the valid run of every step at earlier moments; tags.toml names some of them.
annot/         notes, ratings and tags of runs, one small file each.
exports/       files for other programs.
.staproj/      lock, work in progress, trash, and caches that may be deleted.

Everything is plain text, HDF5 or MRC and can be read without staproj. The directory may be moved or copied.
"""
