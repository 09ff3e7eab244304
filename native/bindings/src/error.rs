//! The one map from Rust errors to the exceptions of `fraudengine.errors`.
//!
//! Exceptions are defined in Python, so that they can be caught and documented without the binary;
//! this file imports them once. Every core error becomes exactly one of them.

