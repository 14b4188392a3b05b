//! Parquet files.

use std::sync::Arc;

use bytes::Bytes;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, RowGroups};
use parquet::arrow::{ProjectionMask, parquet_to_arrow_field_levels, parquet_to_arrow_schema};
use parquet::basic::{Compression, Type};
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::serialized_reader::SerializedPageReader;

use crate::guard::guarded;
use crate::{Rows, codec, value};

/// Rows that are decoded together.
const BATCH: usize = 1024;

/// Reads a Parquet file with pages that are plain or compressed with Snappy, gzip, zstd or raw LZ4.
///
/// # Errors
/// Returns a message if the file is damaged or cut off, or if a column is compressed otherwise or has no meaning in
/// JSON.
pub fn read_parquet(bytes: &[u8]) -> Rows {
    guarded(|| read(Bytes::copy_from_slice(bytes)))
}

fn read(bytes: Bytes) -> Rows {
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&bytes).map_err(damaged)?;
    for column in metadata.row_groups().iter().flat_map(RowGroupMetaData::columns) {
        if !codec::is_known(column.compression()) {
            return Err(format!(
                "column `{}` is compressed with {}, but must be with snappy, gzip, zstd or lz4_raw; write it again: \
                 pandas.read_parquet(FILE).to_parquet(…)",
                column.column_path().string(),
                column.compression()
            ));
        }
    }
    let schema = metadata.file_metadata().schema_descr();
    if let Some(column) = schema.columns().iter().find(|column| column.physical_type() == Type::INT96) {
        return Err(value::refusal(&column.path().string(), "INT96, an old form of timestamps"));
    }
    let levels = parquet_to_arrow_field_levels(schema, ProjectionMask::all(), None).map_err(damaged)?;
    value::check(parquet_to_arrow_schema(schema, None).map_err(damaged)?.fields())?;
    let pages = Pages { metadata: Arc::new(metadata), bytes: Arc::new(bytes) };
    let wanted = pages.num_rows();
    let mut rows = Vec::new();
    let reader = ParquetRecordBatchReader::try_new_with_row_groups(&levels, &pages, BATCH, None).map_err(damaged)?;
    for batch in reader {
        value::append(&batch.map_err(damaged)?, &mut rows)?;
    }
    if rows.len() != wanted {
        return Err(damaged(format!("{} rows instead of {wanted}", rows.len())));
    }
    Ok(rows)
}

fn damaged(error: impl std::fmt::Display) -> String {
    format!("the Parquet file is damaged or cut off ({error}); download or write it again")
}

/// The pages of a file.
struct Pages {
    metadata: Arc<ParquetMetaData>,
    bytes: Arc<Bytes>,
}

impl RowGroups for Pages {
    fn num_rows(&self) -> usize {
        let rows = self.metadata.row_groups().iter().map(|group| usize::try_from(group.num_rows()).unwrap_or(0));
        rows.fold(0, usize::saturating_add)
    }

    fn column_chunks(&self, column: usize) -> Result<Box<dyn PageIterator>> {
        let pages = Self { metadata: Arc::clone(&self.metadata), bytes: Arc::clone(&self.bytes) };
        Ok(Box::new(Chunks { pages, column, group: 0 }))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(self.metadata.row_groups().iter())
    }

    fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }
}

/// The chunks of one column, one per row group.
struct Chunks {
    pages: Pages,
    column: usize,
    group: usize,
}

impl Iterator for Chunks {
    type Item = Result<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        let group = self.pages.metadata.row_groups().get(self.group)?;
        self.group += 1;
        let open = |chunk: &ColumnChunkMetaData| {
            let reader = Unpacked::open(&self.pages.bytes, chunk, group.num_rows())?;
            Ok(Box::new(reader) as Box<dyn PageReader>)
        };
        let missing = || ParquetError::General("a row group without a column".into());
        Some(group.columns().get(self.column).ok_or_else(missing).and_then(open))
    }
}

impl PageIterator for Chunks {}

/// Decompresses the pages of a chunk, which the reader below takes for plain ones.
struct Unpacked {
    packed: SerializedPageReader<Bytes>,
    codec: Compression,
    limit: usize,
}

impl Unpacked {
    fn open(bytes: &Arc<Bytes>, chunk: &ColumnChunkMetaData, rows: i64) -> Result<Self> {
        let plain = chunk.clone().into_builder().set_compression(Compression::UNCOMPRESSED).build()?;
        let packed = SerializedPageReader::new(Arc::clone(bytes), &plain, usize::try_from(rows).unwrap_or(0), None)?;
        // The sum of the sizes of all pages, with their headers.
        let limit = usize::try_from(chunk.uncompressed_size()).unwrap_or(0);
        Ok(Self { packed, codec: chunk.compression(), limit })
    }

    fn unpack(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        codec::decompress(self.codec, bytes, self.limit).map_err(ParquetError::General)
    }
}

impl Iterator for Unpacked {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Unpacked {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let Some(mut page) = self.packed.get_next_page()? else { return Ok(None) };
        if self.codec == Compression::UNCOMPRESSED {
            return Ok(Some(page));
        }
        match &mut page {
            Page::DataPage { buf, .. } | Page::DictionaryPage { buf, .. } => *buf = self.unpack(buf)?.into(),
            // The levels before the values are never compressed.
            Page::DataPageV2 { buf, def_levels_byte_len, rep_levels_byte_len, is_compressed, .. } => {
                let levels = *def_levels_byte_len as usize + *rep_levels_byte_len as usize;
                let Some((levels, values)) = buf.split_at_checked(levels) else {
                    return Err(ParquetError::General("levels longer than their page".into()));
                };
                if *is_compressed && !values.is_empty() {
                    *buf = [levels, &self.unpack(values)?].concat().into();
                }
            }
        }
        Ok(Some(page))
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.packed.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.packed.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.packed.at_record_boundary()
    }
}
