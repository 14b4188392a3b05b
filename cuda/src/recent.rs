//! A one-entry cache.

use std::sync::{Arc, Mutex, PoisonError};

/// The last value, with the key it was made for.
pub(crate) struct Recent<K, V>(Mutex<Option<(K, Arc<V>)>>);

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: PartialEq, V> Recent<K, V> {
    /// Returns the last value if its key equals `key`. Otherwise makes a value with `make` and keeps it instead.
    pub(crate) fn get<E>(&self, key: K, make: impl FnOnce(&K) -> Result<V, E>) -> Result<Arc<V>, E> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, value)) = last.as_ref().filter(|(of, _)| *of == key) {
            return Ok(Arc::clone(value));
        }
        let value = Arc::new(make(&key)?);
        *last = Some((key, Arc::clone(&value)));
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_once_for_a_key_and_keeps_the_last() {
        let (recent, made) = (Recent::default(), std::cell::Cell::new(0));
        let ask = |recent: &Recent<u32, u32>, key| {
            recent.get(key, |key| {
                made.set(made.get() + 1);
                if *key == 0 { Err("0") } else { Ok(10 * key) }
            })
        };
        assert_eq!((ask(&recent, 1).as_deref(), ask(&recent, 1).as_deref()), (Ok(&10), Ok(&10)));
        assert_eq!(made.get(), 1);
        assert_eq!((ask(&recent, 0), ask(&recent, 1).as_deref()), (Err("0"), Ok(&10)));
        assert_eq!(made.get(), 2, "a failure leaves what was there");
        assert_eq!((ask(&recent, 2).as_deref(), ask(&recent, 1).as_deref()), (Ok(&20), Ok(&10)));
        assert_eq!(made.get(), 4);
    }
}
