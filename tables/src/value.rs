//! Values of Arrow's arrays as JSON.

use arrow_array::cast::AsArray;
use arrow_array::temporal_conversions::{as_date, as_datetime, as_time};
use arrow_array::types::*;
use arrow_array::{Array, ArrowPrimitiveType, RecordBatch};
use arrow_schema::{DataType, Fields, TimeUnit};
use serde_json::{Map, Number, Value};

/// Refuses columns whose type has no meaning in JSON, and columns of the same name.
pub(crate) fn check(fields: &Fields) -> Result<(), String> {
    check_fields("", fields)
}

fn check_fields(parent: &str, fields: &Fields) -> Result<(), String> {
    for (i, field) in fields.iter().enumerate() {
        let path = format!("{parent}{}", field.name());
        if fields[..i].iter().any(|other| other.name() == field.name()) {
            return Err(format!("two columns are named `{path}`; rename one of them"));
        }
        check_type(&path, field.data_type())?;
    }
    Ok(())
}

fn check_type(path: &str, kind: &DataType) -> Result<(), String> {
    use DataType::*;
    match kind {
        Null | Boolean | Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 | Float16 | Float32
        | Float64 | Utf8 | LargeUtf8 | Utf8View | Date32 | Date64 | Time32(_) | Time64(_) | Timestamp(..)
        | Decimal32(..) | Decimal64(..) | Decimal128(..) => Ok(()),
        List(item) | LargeList(item) | FixedSizeList(item, _) => check_type(path, item.data_type()),
        Struct(fields) => check_fields(&format!("{path}."), fields),
        Dictionary(_, item) => check_type(path, item),
        Map(entries, _) => match entries.data_type() {
            Struct(fields) if fields.len() == 2 && *fields[0].data_type() == Utf8 => {
                check_type(path, fields[1].data_type())
            }
            _ => Err(refusal(path, "a map whose keys are not texts")),
        },
        Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => Err(refusal(path, "binary data")),
        other => Err(refusal(path, &other.to_string())),
    }
}

/// Returns the message that refuses a column.
pub(crate) fn refusal(path: &str, what: &str) -> String {
    let column = path.split('.').next().unwrap_or_default();
    format!(
        "column `{path}` is {what}, which has no meaning in a row of JSON; remove the column or convert it to text: \
         table.drop_columns([\"{column}\"]) in pyarrow, dataset.remove_columns(\"{column}\") in datasets"
    )
}

/// Appends the rows of a batch.
pub(crate) fn append(batch: &RecordBatch, rows: &mut Vec<Map<String, Value>>) -> Result<(), String> {
    let schema = batch.schema();
    for row in 0..batch.num_rows() {
        let mut object = Map::new();
        for (field, column) in schema.fields().iter().zip(batch.columns()) {
            let value = value(column, row)
                .map_err(|why| format!("row {}, column `{}`: {why}", rows.len() + 1, field.name()))?;
            object.insert(field.name().clone(), value);
        }
        rows.push(object);
    }
    Ok(())
}

/// Returns entry `row` of an array of a type that [`check`] has accepted.
fn value(array: &dyn Array, row: usize) -> Result<Value, String> {
    use DataType::*;
    if array.is_null(row) {
        return Ok(Value::Null);
    }
    let outside = || "a date outside of the years that can be written".to_owned();
    macro_rules! plain {
        ($kind:ty) => {
            Ok(array.as_primitive::<$kind>().value(row).into())
        };
    }
    macro_rules! date {
        ($convert:ident, $kind:ty) => {
            $convert::<$kind>(i64::from(array.as_primitive::<$kind>().value(row)))
                .map(|date| format!("{date:?}"))
                .ok_or_else(outside)
                .map(Value::from)
        };
    }
    macro_rules! entry {
        ($kind:ty) => {{
            let entries = array.as_dictionary::<$kind>();
            entries.key(row).map_or(Ok(Value::Null), |key| value(entries.values(), key))
        }};
    }
    match array.data_type() {
        Null => Ok(Value::Null),
        Boolean => Ok(array.as_boolean().value(row).into()),
        Int8 => plain!(Int8Type),
        Int16 => plain!(Int16Type),
        Int32 => plain!(Int32Type),
        Int64 => plain!(Int64Type),
        UInt8 => plain!(UInt8Type),
        UInt16 => plain!(UInt16Type),
        UInt32 => plain!(UInt32Type),
        UInt64 => plain!(UInt64Type),
        // The shortest digits that identify the number, which is 0.1 and not 0.10000000149011612.
        Float16 => float(&array.as_primitive::<Float16Type>().value(row).to_string()),
        Float32 => float(&array.as_primitive::<Float32Type>().value(row).to_string()),
        Float64 => number(array.as_primitive::<Float64Type>().value(row)),
        Utf8 => Ok(array.as_string::<i32>().value(row).into()),
        LargeUtf8 => Ok(array.as_string::<i64>().value(row).into()),
        Utf8View => Ok(array.as_string_view().value(row).into()),
        Date32 => date!(as_date, Date32Type),
        Date64 => date!(as_date, Date64Type),
        Time32(TimeUnit::Second) => date!(as_time, Time32SecondType),
        Time32(_) => date!(as_time, Time32MillisecondType),
        Time64(TimeUnit::Microsecond) => date!(as_time, Time64MicrosecondType),
        Time64(_) => date!(as_time, Time64NanosecondType),
        Timestamp(unit, zone) => {
            let text = match unit {
                TimeUnit::Second => date!(as_datetime, TimestampSecondType),
                TimeUnit::Millisecond => date!(as_datetime, TimestampMillisecondType),
                TimeUnit::Microsecond => date!(as_datetime, TimestampMicrosecondType),
                TimeUnit::Nanosecond => date!(as_datetime, TimestampNanosecondType),
            }?;
            // With a zone, the stored number counts from 1970 in UTC.
            let mark = if zone.is_some() { "Z" } else { "" };
            Ok(format!("{}{mark}", text.as_str().unwrap_or_default()).into())
        }
        Decimal32(..) => Ok(decimal::<Decimal32Type>(array, row)),
        Decimal64(..) => Ok(decimal::<Decimal64Type>(array, row)),
        Decimal128(..) => Ok(decimal::<Decimal128Type>(array, row)),
        List(_) => items(&array.as_list::<i32>().value(row)),
        LargeList(_) => items(&array.as_list::<i64>().value(row)),
        FixedSizeList(..) => items(&array.as_fixed_size_list().value(row)),
        Struct(fields) => {
            let columns = array.as_struct().columns();
            let pairs =
                fields.iter().zip(columns).map(|(field, column)| Ok((field.name().clone(), value(column, row)?)));
            pairs.collect::<Result<_, String>>().map(Value::Object)
        }
        Map(..) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1));
            let mut object = serde_json::Map::new();
            for i in 0..entries.len() {
                if object.insert(keys.value(i).to_owned(), value(values, i)?).is_some() {
                    return Err(format!("the key {:?} comes twice", keys.value(i)));
                }
            }
            Ok(object.into())
        }
        Dictionary(key, _) => match **key {
            Int8 => entry!(Int8Type),
            Int16 => entry!(Int16Type),
            Int32 => entry!(Int32Type),
            Int64 => entry!(Int64Type),
            UInt8 => entry!(UInt8Type),
            UInt16 => entry!(UInt16Type),
            UInt32 => entry!(UInt32Type),
            _ => entry!(UInt64Type),
        },
        other => Err(format!("the type {other} is not supported")),
    }
}

fn items(array: &dyn Array) -> Result<Value, String> {
    (0..array.len()).map(|i| value(array, i)).collect::<Result<_, _>>().map(Value::Array)
}

/// Returns a decimal as text, which keeps its digits.
fn decimal<T: ArrowPrimitiveType + DecimalType>(array: &dyn Array, row: usize) -> Value {
    array.as_primitive::<T>().value_as_string(row).into()
}

fn float(digits: &str) -> Result<Value, String> {
    number(digits.parse().unwrap_or(f64::NAN))
}

/// Returns a number, or null for NaN, as which pandas writes missing numbers.
fn number(number: f64) -> Result<Value, String> {
    if number.is_infinite() {
        return Err(format!("{number} is not a number in JSON; remove the row or replace the number"));
    }
    Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
}
