"""Every table keeps the rules that DuckDB over Lance needs."""

import pyarrow as pa
import pytest

from schemas.tables import TABLES, Table

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
