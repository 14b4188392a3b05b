//! The files of `data/`, which pyarrow and datasets wrote (`make.py`), and damaged copies of them.

mod damage;
mod files;
