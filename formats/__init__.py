"""Outside formats, one file each: ``read(path) -> Iterator[Log]`` and ``write(…, folder)``."""
