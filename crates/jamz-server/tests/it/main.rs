//! The product from outside: configuration, stores, events over real sockets, manifests.

mod manifests;
