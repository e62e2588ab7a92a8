//! Session ids.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A session id: 20 characters of base64url, as Node makes them. It is a secret: who knows it can use the session.
///
/// Its `Debug` form leaves all but the first characters out, so that a log does not give it away.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sid([u8; Sid::LEN]);

impl Sid {
    /// Characters of an id.
    pub const LEN: usize = 20;

    /// The id made of 15 bytes, which must come from a cryptographic source of randomness.
    pub fn from_random(random: [u8; 15]) -> Sid {
        let mut sid = [0; Sid::LEN];
        URL_SAFE_NO_PAD
            .encode_slice(random, &mut sid)
            .expect("15 bytes are exactly 20 characters of base64");
        Sid(sid)
    }

    /// The id spelt by `text`, if it has the length and the alphabet of one.
    pub fn parse(text: &str) -> Option<Sid> {
        let sid = <[u8; Sid::LEN]>::try_from(text.as_bytes()).ok()?;
        let alphabet = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        sid.iter().all(alphabet).then_some(Sid(sid))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("both constructors leave ASCII only")
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Sid({}…)", &self.as_str()[..4])
    }
}

impl std::str::FromStr for Sid {
    type Err = InvalidSid;

    fn from_str(text: &str) -> Result<Sid, InvalidSid> {
        Sid::parse(text).ok_or(InvalidSid)
    }
}

/// A text that is not a session id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a session id is 20 characters of base64url")]
pub struct InvalidSid;
