//! jamz-server
