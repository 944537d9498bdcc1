"""The ``scenelake`` command: read the options, call the library once, print."""
