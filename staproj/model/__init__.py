"""What things are: frozen dataclasses of numpy arrays, with their conventions.

Conventions shared by everything here (held by ``tests/unit/test_model_*.py``):

* Volumes and images are C-ordered arrays ``[z, y, x]``, ``[view, y, x]``; their origin is index ``n // 2``.
* Coordinates and rotation matrices are in the order x, y, z (field names say ``_xyz_`` or ``_xy_``).
* Specimen positions are in Å relative to the tomogram centre, so binning changes nothing.
* Rotations are named target-from-source: ``rot_tomo_from_ref @ x_ref`` is a vector of the tomogram.
* Views are sorted by rising stage tilt; ``acquisition_index`` keeps the order in time (0 = first).
* Defocus is positive for underfocus. Density maps are bright (protein positive), raw images are dark.
"""
