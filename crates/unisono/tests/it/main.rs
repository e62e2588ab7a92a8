//! What the library does, seen from outside.
