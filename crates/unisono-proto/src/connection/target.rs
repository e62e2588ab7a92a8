//! Namespaces as clients of Engine.IO 3 write them: with a query behind, which stands for the `auth` object of later clients.

use crate::engine::pairs;
use crate::value::{Value, without_duplicates};

/// The namespace alone.
pub(super) fn name(target: &str) -> &str {
    target.split(['?', '#']).next().unwrap_or_default()
}

/// Takes `/chat?token=x` apart: the namespace, and the query as a map of texts. What is behind a `#` counts for nothing, as for Node.
pub(super) fn take_apart(mut target: String) -> (String, Option<Value>) {
    let behind = target.split_off(name(&target).len());
    let behind = behind.split('#').next().unwrap_or_default();
    let query = behind.strip_prefix('?').map(|query| {
        let pairs = pairs(query).map(|(key, value)| (key.into_owned(), value.as_ref().into()));
        Value::Map(without_duplicates(pairs.collect()))
    });
    (target, query)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(target: &str, nsp: &str, query: Option<&[(&str, &str)]>) {
        let query = query.map(|pairs| {
            let pairs = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).into()));
            Value::Map(pairs.collect())
        });
        assert_eq!(
            take_apart(target.to_owned()),
            (nsp.to_owned(), query),
            "{target}"
        );
    }

    /// The maps are what Node's server gives as `handshake.auth`.
    #[test]
    fn a_query_behind_a_namespace_is_its_auth() {
        check("/", "/", None);
        check("/ok", "/ok", None);
        check("/ok?x=1", "/ok", Some(&[("x", "1")]));
        check("/ok?a=1&a=2#f", "/ok", Some(&[("a", "2")]));
        check("/ok?a=%2C+%20&b", "/ok", Some(&[("a", ",  "), ("b", "")]));
        check("/ok?", "/ok", Some(&[]));
        check("/ok#f?x=1", "/ok", None);
        check("?x", "", Some(&[("x", "")]));
    }
}
