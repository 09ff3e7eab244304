"""The schema's twins agree: the compiled proto, `fraudengine.schema`, and the limits of the native engine."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from grpc_tools import protoc

from fraudengine import schema

ROOT = Path(__file__).resolve().parents[2]
PROTO_TYPES = {
    FieldDescriptorProto.TYPE_STRING: pl.String(),
    FieldDescriptorProto.TYPE_INT32: pl.Int32(),
    FieldDescriptorProto.TYPE_DOUBLE: pl.Float64(),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FileDescriptorProto]:
    out = tmp_path_factory.mktemp("proto") / "set.binpb"
    sources = sorted(str(path) for path in (ROOT / "proto").rglob("*.proto"))
    code = protoc.main(
        ["protoc", f"-I{ROOT / 'proto'}", f"--descriptor_set_out={out}", "--include_source_info", *sources]
    )
    assert code == 0
    compiled = FileDescriptorSet.FromString(out.read_bytes())
    return {Path(file.name).stem: file for file in compiled.file}


def message(files: dict[str, FileDescriptorProto], stem: str, name: str) -> DescriptorProto:
    return next(each for each in files[stem].message_type if each.name == name)


def proto_dtype(field: FieldDescriptorProto) -> pl.DataType:
    if field.type == FieldDescriptorProto.TYPE_INT64:
        return schema.TIME if field.name.endswith("_micros") else pl.Int64()
    if field.type == FieldDescriptorProto.TYPE_ENUM:
        return pl.Int8() if field.type_name.endswith("Verdict") else pl.String()
    return PROTO_TYPES[field.type]


def described(field: FieldDescriptorProto) -> tuple[str, pl.DataType, bool]:
    # The amount is required but has explicit presence, since zero is a value.
    required = not field.proto3_optional or field.name == "amount_minor"
    return field.name, proto_dtype(field), required


def test_transaction_fields_equal_the_columns(files: dict[str, FileDescriptorProto]) -> None:
    fields = [described(field) for field in message(files, "transaction", "Transaction").field]
    columns = [(each.proto_name, each.dtype, each.required) for each in schema.COLUMNS if not each.label]
    assert fields == columns


def test_label_fields_are_columns_of_the_schema(files: dict[str, FileDescriptorProto]) -> None:
    columns = {each.proto_name: each.dtype for each in schema.COLUMNS}
    # Who says it and where from is for the record: no history has it.
    fields = {
        field.name: proto_dtype(field)
        for field in message(files, "label", "Label").field
        if field.name not in {"source", "actor"}
    }
    assert {name: columns[name] for name in fields} == fields
    required = {each.proto_name for each in schema.COLUMNS if each.required or each.label}
    assert required <= set(fields)


def test_channels_are_the_enumeration(files: dict[str, FileDescriptorProto]) -> None:
    names = [value.name.removeprefix("CHANNEL_").lower() for value in files["transaction"].enum_type[0].value]
    assert names == ["unspecified", *schema.CHANNELS]


def test_every_field_and_value_of_the_protos_is_documented(files: dict[str, FileDescriptorProto]) -> None:
    silent = []
    for stem, file in files.items():
        commented = {
            tuple(place.path) for place in file.source_code_info.location if place.leading_comments.strip()
        }
        for kind, outer in ((4, file.message_type), (5, file.enum_type)):
            for index, each in enumerate(outer):
                inner = each.field if isinstance(each, DescriptorProto) else each.value
                paths = [(kind, index), *((kind, index, 2, position) for position in range(len(inner)))]
                silent += [f"{stem} {each.name} {path}" for path in paths if path not in commented]
    assert silent == []


def test_repeated_limits_equal_those_of_the_engine() -> None:
    limits = (ROOT / "native/core/src/limits.rs").read_text(encoding="utf-8").replace("_", "")
    for name in ("AMOUNT_MINOR_MAX", "EVENT_TIME_MIN", "EVENT_TIME_MAX"):
        value = re.search(rf"const {name.replace('_', '')}: \w+ = (?:\w+\()?(\d+)", limits)
        assert value is not None, name
        twin = getattr(schema, f"{name}_MICROS" if "TIME" in name else name)
        assert int(value.group(1)) == twin


def test_the_empty_frame_has_the_schema() -> None:
    assert dict(schema.empty_frame().schema) == schema.polars_schema()
    assert set(schema.REQUIRED_COLUMNS) < set(schema.TRANSACTION_COLUMNS)
    assert tuple(schema.polars_schema()) == schema.TRANSACTION_COLUMNS + schema.LABEL_COLUMNS
