//! Device copies of the lists that attention needs for a layout: which block works on which rows.

use std::sync::{Arc, Mutex, PoisonError};

use flowrl_lm::backend::{Heads, Layout, Span};

use crate::buffer::Index;
use crate::device::Device;
use crate::error::Result;
use crate::tile;

mod work;

use work::Parts;

/// The lists made last. They are kept because every layer of a pass asks for the same ones.
#[derive(Debug, Default)]
pub(crate) struct AttentionLists {
    packed: Recent<(Layout, Heads), PackedLists>,
    cached: Recent<(Vec<Span>, Heads), CachedLists>,
    slots: Recent<Vec<u32>, Index>,
}

/// The lists of `attention` and `attention_backward`, with the meanings given in [`work`].
#[derive(Debug)]
pub(crate) struct PackedLists {
    pub(crate) spans: Index,
    pub(crate) tiles: Index,
    pub(crate) key_parts: Index,
    pub(crate) merges: Index,
    /// Start of each span's followers in `followers`, the concatenated list of all.
    pub(crate) starts: Index,
    pub(crate) followers: Index,
    pub(crate) slots: usize,
}

/// The lists of `cached_attention`.
#[derive(Debug)]
pub(crate) struct CachedLists {
    pub(crate) spans: Index,
    pub(crate) parts: Index,
    pub(crate) merges: Index,
    pub(crate) slots: usize,
}

impl AttentionLists {
    pub(crate) fn packed(&self, device: &Device, layout: &Layout, heads: Heads) -> Result<Arc<PackedLists>> {
        recent(&self.packed, (layout.clone(), heads), |_| {
            layout.check()?;
            tile::check(heads)?;
            let followers = work::followers(layout);
            let Parts { parts, merges, slots } = Parts::of_keys(layout, &followers, heads);
            let mut starts = vec![0];
            for list in &followers {
                starts.push(starts[starts.len() - 1] + list.len() as u32);
            }
            let index = |list| Index::new(device, list);
            Ok(PackedLists {
                spans: index(work::spans(&layout.spans))?,
                tiles: index(work::of_queries(layout))?,
                key_parts: index(parts)?,
                merges: index(merges)?,
                starts: index(starts)?,
                followers: index(followers.concat())?,
                slots,
            })
        })
    }

    pub(crate) fn cached(&self, device: &Device, spans: &[Span], heads: Heads) -> Result<Arc<CachedLists>> {
        recent(&self.cached, (spans.to_vec(), heads), |_| {
            tile::check(heads)?;
            let Parts { parts, merges, slots } = Parts::of_rows(spans);
            let index = |list| Index::new(device, list);
            Ok(CachedLists { spans: index(work::spans(spans))?, parts: index(parts)?, merges: index(merges)?, slots })
        })
    }

    /// Returns the slots of the cache that `cache_store` fills.
    pub(crate) fn slots(&self, device: &Device, slots: &[u32]) -> Result<Arc<Index>> {
        recent(&self.slots, slots.to_vec(), |slots| Index::new(device, slots.clone()))
    }
}

/// The last value, with the key it was made for.
type Recent<K, V> = Mutex<Option<(K, Arc<V>)>>;

/// Returns the last value if its key equals `key`. Otherwise makes a value with `make` and keeps it instead.
fn recent<K: PartialEq, V, E>(last: &Recent<K, V>, key: K, make: impl FnOnce(&K) -> Result<V, E>) -> Result<Arc<V>, E> {
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, value)) = last.as_ref().filter(|(of, _)| *of == key) {
        return Ok(Arc::clone(value));
    }
    let value = Arc::new(make(&key)?);
    *last = Some((key, Arc::clone(&value)));
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_once_for_a_key_and_keeps_the_last() {
        let (last, made) = (Recent::default(), std::cell::Cell::new(0));
        let ask = |key: u32| {
            recent(&last, key, |key| {
                made.set(made.get() + 1);
                if *key == 0 { Err("0") } else { Ok(10 * key) }
            })
        };
        assert_eq!((ask(1).as_deref(), ask(1).as_deref()), (Ok(&10), Ok(&10)));
        assert_eq!(made.get(), 1);
        assert_eq!((ask(0), ask(1).as_deref()), (Err("0"), Ok(&10)));
        assert_eq!(made.get(), 2, "a failure leaves what was there");
        assert_eq!((ask(2).as_deref(), ask(1).as_deref()), (Ok(&20), Ok(&10)));
        assert_eq!(made.get(), 4);
    }
}
