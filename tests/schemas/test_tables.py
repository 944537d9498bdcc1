"""Every table keeps the rules that DuckDB over Lance needs."""

import hashlib

import pyarrow as pa
import pytest

from schemas.tables import SCHEMA_VERSION, TABLES, Table

SAFE = {
    pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.bool_(),
    pa.string(), pa.binary(),
}  # fmt: skip


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_types_are_safe_and_keys_exist(table: Table) -> None:
    for field in table.schema:
        inner = field.type.value_type if pa.types.is_nested(field.type) else field.type
        assert inner in SAFE, field
    assert table.key
    for column in table.key:
        assert not table.schema.field(column).nullable
    assert len(set(table.schema.names)) == len(table.schema.names)


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_every_column_says_what_it_means(table: Table) -> None:
    assert all(len(column.doc) > 3 for column in table.columns)


def test_tables_that_change_raise_their_version() -> None:
    told = "\n".join(
        f"{name} {field.name} {field.type}"
        for name, table in sorted(TABLES.items())
        for field in table.schema
    )
    known = hashlib.sha256(told.encode()).hexdigest()[:16]
    assert (SCHEMA_VERSION, known) == (5, "149f11a95a1067cb"), (
        "raise SCHEMA_VERSION, and note both here"
    )
