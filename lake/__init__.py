"""The ``Lake``: driving data as Lance tables, with ingest, SQL and verification."""
