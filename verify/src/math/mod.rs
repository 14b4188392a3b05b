//! Judges mathematical answers.
