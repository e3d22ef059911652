"""The directory as state: paths, manifest, records, versions, lock. Nothing here computes or decides."""
