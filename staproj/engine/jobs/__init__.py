"""Work that goes on without a terminal: a job is a request on disk, a supervisor and one worker process.

::

    staproj run  (a person looks, may go away)
       └── supervisor   own session; sees the worker die, stops it when asked, writes the last word
             └── worker  own process group; runs the steps, one after the other
"""
