//! The transformer policy of flowrl.
