//! Whose request it is: the peer's, or that of whoever a trusted proxy says it came from.

use std::net::IpAddr;

use http::HeaderMap;
use ipnet::IpNet;

/// Where proxies note who they were called by. The last entry is the nearest proxy's.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Entries of `X-Forwarded-For` that are looked at, from the right. No chain of proxies is that long; whoever writes more entries does it
/// to be costly.
const MAX_HOPS: usize = 16;

/// The client's address. If the peer is a trusted proxy, it is the right-most entry of `X-Forwarded-For` that is none: everything to
/// the left of that was written by somebody who is not trusted. An entry that is no address ends the search too, and the last good
/// one is the answer.
pub(super) fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
    let mut client = peer.to_canonical();
    if trusted.is_empty() || !is_trusted(client) {
        return client;
    }
    // Several lines are one list (RFC 9110, section 5.3).
    let lines = headers.get_all(FORWARDED_FOR).into_iter().rev();
    let entries = lines.flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b','));
    for entry in entries.take(MAX_HOPS) {
        let Some(address) = parse(entry) else {
            return client;
        };
        client = address;
        if !is_trusted(client) {
            return client;
        }
    }
    client
}

/// An address, with a port or in brackets if a proxy writes it so.
fn parse(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry.trim_ascii()).ok()?;
    let bracketed = text.strip_prefix('[').and_then(|rest| {
        let (address, port) = rest.split_once(']')?;
        let good = port.is_empty() || port.strip_prefix(':')?.parse::<u16>().is_ok();
        good.then_some(address)
    });
    let address = bracketed.unwrap_or(text).parse().or_else(|_| {
        text.parse()
            .map(|address: std::net::SocketAddrV4| (*address.ip()).into())
    });
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(peer: &str, lines: &[&[u8]], expected: &str) {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap());
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, (*line).try_into().unwrap());
        }
        let found = client_address(peer.parse().unwrap(), &headers, &trusted);
        let shown: Vec<_> = lines
            .iter()
            .map(|line| line.escape_ascii().to_string())
            .collect();
        assert_eq!(found.to_string(), expected, "{peer} {shown:?}");
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        check("1.1.1.1", &[b"2.2.2.2"], "1.1.1.1");
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &[b"2.2.2.2"], "2.2.2.2");
        // What the client wrote itself stands to the left.
        check("10.0.0.1", &[b"6.6.6.6, 2.2.2.2"], "2.2.2.2");
        check("10.0.0.1", &[b"6.6.6.6, 2.2.2.2 ,10.9.9.9"], "2.2.2.2");
        check("fd00::1", &[b"2001:db8::7, fd00::2"], "2001:db8::7");
        // A client within the trusted networks.
        check("10.0.0.1", &[b"10.0.0.3, 10.0.0.2"], "10.0.0.3");
    }

    #[test]
    fn several_lines_are_one_list() {
        check("10.0.0.1", &[b"6.6.6.6", b"2.2.2.2"], "2.2.2.2");
        check(
            "10.0.0.1",
            &[b"6.6.6.6, 2.2.2.2", b"10.0.0.9,10.0.0.8"],
            "2.2.2.2",
        );
    }

    #[test]
    fn an_entry_that_is_no_address_ends_the_search() {
        for garbage in [
            "unknown",
            "",
            "1.2.3",
            "2.2.2.2:x",
            "[::1",
            "[::1]:",
            "\u{e9}",
            "_hidden",
        ] {
            let line = format!("6.6.6.6, {garbage}, 10.0.0.7");
            check("10.0.0.1", &[line.as_bytes()], "10.0.0.7");
        }
        check("10.0.0.1", &[b"6.6.6.6, \xff\xfe"], "10.0.0.1");
    }

    #[test]
    fn ports_brackets_and_mapped_addresses_are_understood() {
        check("::ffff:10.0.0.1", &[b"2.2.2.2:4711"], "2.2.2.2");
        check("10.0.0.1", &[b"::ffff:2.2.2.2"], "2.2.2.2");
        check("10.0.0.1", &[b"[2001:db8::7]:443"], "2001:db8::7");
        check("10.0.0.1", &[b"[2001:db8::7]"], "2001:db8::7");
    }

    #[test]
    fn the_search_is_bounded() {
        let line = format!("2.2.2.2{}", ",10.0.0.2".repeat(MAX_HOPS - 1));
        check("10.0.0.1", &[line.as_bytes()], "2.2.2.2");
        let line = format!("2.2.2.2{}", ",10.0.0.2".repeat(MAX_HOPS));
        check("10.0.0.1", &[line.as_bytes()], "10.0.0.2");
    }
}
