"""Whether, when and where a stage runs, and what becomes of its outputs.

::

    what is wanted    intent plan params values view         manifest and options -> graph -> expected runs
    is it fresh       why reasons digest accept heads        one verdict a step, with reasons
    making it         session execute items crew executors   a run, item by item, inline or in processes
                      context inputs outputs spec sealing runlog meter events options resources environment
    after a stop      attempts checkpoints recover           taking over what was finished, tidying up
    without terminal  jobs/ slots machine estimate           supervisor and worker, queue, what it will take
    side by side      variants compare checkout              values next to each other, versions
    how it was made   lineage provenance sidecar recipe
    clean-up          usage keep collect recreate            what can go and be made again
                      prove remake workshop bring_back differences
    passing it on     archive archive_files restore verify
    health            doctor doctor_runs
"""
