"""The directory as state. Nothing here computes or decides.

::

    names             layout rundir
    reading, writing  reading checks atomic batch journal lock process toml_file
    intent            manifest manifest_edit manifest_steps patterns versions version_tags
                      schema migrate readme
    runs              runs record index fingerprints accepted annotations cleared trash
    archives          bag bag_write bag_read bag_copy bag_stream tarball
    health            probe findings
"""
