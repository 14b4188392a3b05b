"""Writes the files of tests/data: python3 make.py, with pyarrow 26.0.1 and datasets 5.2.0."""

import datetime
import decimal
import pathlib
import shutil

import datasets
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq

DATA = pathlib.Path(__file__).parent / "data"

# Every type that is read, with a null in each column.
day = datetime.date(2024, 2, 29)
moment = datetime.datetime(2024, 2, 29, 12, 30, 15, 250000)
TYPES = pa.table(
    {
        "text": pa.array(["a", None, "ü\n\"q\""]),
        "large": pa.array(["big", "", None], pa.large_string()),
        "word": pa.array(["x", "y", "x"]).dictionary_encode(),
        "flag": pa.array([True, False, None]),
        "i8": pa.array([-128, 127, None], pa.int8()),
        "u64": pa.array([0, 2**64 - 1, None], pa.uint64()),
        "i64": pa.array([-(2**63), 2**53 + 1, None], pa.int64()),
        "f32": pa.array([0.1, None, float("nan")], pa.float32()),
        "f64": pa.array([0.1, -1e300, None]),
        "f16": pa.array([0.5, 2.0, None], pa.float16()),
        "day": pa.array([day, None, datetime.date(1969, 12, 31)]),
        "at_us": pa.array([moment, None, datetime.datetime(1970, 1, 1)], pa.timestamp("us")),
        "at_utc": pa.array([moment, None, None], pa.timestamp("ms", "UTC")),
        "time": pa.array([datetime.time(1, 2, 3), None, None], pa.time64("us")),
        "price": pa.array([decimal.Decimal("12.50"), decimal.Decimal("-0.05"), None], pa.decimal128(20, 2)),
        "list": pa.array([[1, 2], [], None], pa.list_(pa.int32())),
        "lists": pa.array([[["a"], []], [None], [["b", None]]], pa.list_(pa.list_(pa.string()))),
        "struct": pa.array([{"a": 1, "b": {"c": "d"}}, None, {"a": None, "b": None}]),
        "messages": pa.array(
            [
                [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}],
                [],
                [{"role": "user", "content": None}],
            ]
        ),
        "map": pa.array([[("k", 1), ("l", None)], [], None], pa.map_(pa.string(), pa.int64())),
        "nothing": pa.array([None, None, None]),
    }
)

# As verl writes them, with enough rows for several pages, dictionaries and row groups.
VERL = pa.table(
    {
        "data_source": ["gsm8k"] * 300,
        "prompt": [[{"role": "user", "content": f"What is {i} + {i}?"}] for i in range(300)],
        "reward_model": [{"style": "rule", "ground_truth": str(2 * i)} for i in range(300)],
        "extra_info": [{"index": i, "split": "train"} for i in range(300)],
    }
)


def parquet(name, table, **options):
    pq.write_table(table, DATA / name, **options)


def stream(name, table, **options):
    with pa.ipc.new_stream(DATA / name, table.schema, **options) as writer:
        writer.write_table(table, max_chunksize=2)


shutil.rmtree(DATA, ignore_errors=True)
DATA.mkdir()
parquet("types.parquet", TYPES, version="2.6")
stream("types.arrow", TYPES)
feather.write_feather(TYPES, DATA / "types.feather", compression="uncompressed")
feather.write_feather(TYPES, DATA / "lz4.feather", compression="lz4")
for codec in ["none", "snappy", "gzip", "zstd", "lz4"]:
    parquet(f"verl-{codec}.parquet", VERL, compression=codec, row_group_size=150, data_page_size=256)
parquet("v2.parquet", VERL, compression="zstd", data_page_version="2.0", data_page_size=256)
parquet("plain.parquet", VERL, compression="snappy", use_dictionary=False)
parquet(
    "delta.parquet",
    VERL,
    use_dictionary=False,
    column_encoding={"data_source": "DELTA_BYTE_ARRAY", "extra_info.index": "DELTA_BINARY_PACKED"},
)
parquet("brotli.parquet", VERL.slice(0, 3), compression="brotli")
parquet("empty.parquet", VERL.slice(0, 0))
image = pa.table({"q": ["a"], "image": pa.array([{"bytes": b"\x00\x01", "path": "a.png"}])})
parquet("binary.parquet", image)
stream("binary.arrow", image)
parquet("infinite.parquet", pa.table({"x": [1.0, float("inf")]}))
parquet("old-times.parquet", pa.table({"x": pa.array([moment])}), use_deprecated_int96_timestamps=True)
stream("twice.arrow", pa.table([pa.array([1]), pa.array([2])], names=["x", "x"]))
questions = [{"question": f"What is {i} + {i}?", "answer": f"It is twice {i}.\n#### {2 * i}"} for i in range(5)]
datasets.Dataset.from_list(questions).save_to_disk(DATA / "folder", num_shards=2)
