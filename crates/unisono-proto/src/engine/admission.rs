//! Which requests are let in: the checks of Node's server, in its order.

use super::{Query, Revision, Sid, Transport};

/// The method of a request, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `POST`
    Post,
    /// Anything else.
    Other,
}

/// What an admitted request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It opens a session on this transport, if [`Admission::check_version`] lets it. Whoever admits requests by their origin or credentials
    /// ([`Rejection::Forbidden`]) may do so before or after; Node does before.
    Handshake(Transport),
    /// A WebSocket that wants to take over this session.
    Upgrade(Sid),
    /// A poll, a payload, or another method on this polling session.
    Request(Sid),
}

/// Why a request is refused. Over HTTP the answer is [`status`](Rejection::status) with [`body`](Rejection::body) as
/// `application/json`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The transport is missing, unknown or disabled.
    #[error("Transport unknown")]
    UnknownTransport,
    /// No session has this id (any more).
    #[error("Session ID unknown")]
    UnknownSid,
    /// A handshake by another method than GET.
    #[error("Bad handshake method")]
    BadMethod,
    /// The transport or the revision is not the session's, or a WebSocket handshake asks for no upgrade.
    #[error("Bad request")]
    BadRequest,
    /// The application refused the handshake; its reason, if it gave one.
    #[error("{}", .0.as_deref().unwrap_or("Forbidden"))]
    Forbidden(Option<String>),
    /// The client speaks a revision that is not served.
    #[error("Unsupported protocol version")]
    UnsupportedVersion,
}

impl Rejection {
    /// The code clients see: 0 to 5.
    pub fn code(&self) -> u8 {
        match self {
            Rejection::UnknownTransport => 0,
            Rejection::UnknownSid => 1,
            Rejection::BadMethod => 2,
            Rejection::BadRequest => 3,
            Rejection::Forbidden(_) => 4,
            Rejection::UnsupportedVersion => 5,
        }
    }

    /// The text clients see, on either transport, in a JSON object beside a code.
    pub fn message(&self) -> String {
        self.to_string()
    }

    /// The HTTP status: 403 for [`Rejection::Forbidden`], otherwise 400.
    pub fn status(&self) -> u16 {
        match self {
            Rejection::Forbidden(_) => 403,
            _ => 400,
        }
    }

    /// The JSON body, for example `{"code":1,"message":"Session ID unknown"}`.
    pub fn body(&self) -> String {
        let mut body = format!(r#"{{"code":{},"message":"#, self.code());
        crate::value::push_string(&self.message(), &mut body);
        body.push('}');
        body
    }
}

/// Decides what a request is, or why it is refused.
///
/// `upgrade` says whether it asks for a WebSocket, `enabled` which transports the server offers, and `lookup` gives
/// the current transport of a live session and the revision that it was opened with. (An `Origin` with forbidden bytes, which Node checks second, cannot get
/// past an HTTP parser that checks header values.)
///
/// # Errors
/// The first [`Rejection`] that applies.
pub fn check(
    query: &Query<'_>,
    method: Method,
    upgrade: bool,
    enabled: &[Transport],
    lookup: impl FnOnce(&Sid) -> Option<(Transport, Revision)>,
) -> Result<Admission, Rejection> {
    let transport = query.transport.as_deref().and_then(Transport::parse);
    let transport = transport
        .filter(|transport| enabled.contains(transport))
        .ok_or(Rejection::UnknownTransport)?;
    let Some(sid) = query.sid.as_deref() else {
        return match (method, transport, upgrade) {
            (Method::Post | Method::Other, ..) => Err(Rejection::BadMethod),
            (_, Transport::WebSocket, false) | (_, Transport::Polling, true) => {
                Err(Rejection::BadRequest)
            }
            _ => Ok(Admission::Handshake(transport)),
        };
    };
    let sid = Sid::parse(sid).ok_or(Rejection::UnknownSid)?;
    let (current, revision) = lookup(&sid).ok_or(Rejection::UnknownSid)?;
    let takes_over = upgrade && transport == Transport::WebSocket;
    // Whoever took a session up in another revision would be read by the wrong rules (CVE-2026-102599).
    if query.revision() != revision || (!takes_over && (upgrade || current != transport)) {
        return Err(Rejection::BadRequest);
    }
    match (takes_over, transport) {
        (true, _) => Ok(Admission::Upgrade(sid)),
        (false, Transport::Polling) => Ok(Admission::Request(sid)),
        // A plain request on a session whose transport is a WebSocket.
        (false, Transport::WebSocket) => Err(Rejection::BadRequest),
    }
}

impl Admission {
    /// The last check of a handshake: the protocol revision, which is 4, or 3 where that is served too. Requests on a session have
    /// passed it already.
    ///
    /// # Errors
    /// [`Rejection::UnsupportedVersion`].
    pub fn check_version(self, query: &Query<'_>, v3: bool) -> Result<Admission, Rejection> {
        match self {
            Admission::Handshake(_) if query.revision() == Revision::V3 && !v3 => {
                Err(Rejection::UnsupportedVersion)
            }
            admission => Ok(admission),
        }
    }
}
