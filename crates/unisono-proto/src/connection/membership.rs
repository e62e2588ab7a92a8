//! One namespace that a connection asked for or joined.

/// What a connection is to one namespace. A vacant place is used again.
#[derive(Debug)]
pub(super) struct Membership {
    /// `None` stands for the main namespace `/`, which nearly every client joins and which then costs no allocation.
    nsp: Option<Box<str>>,
    state: State,
}

#[derive(Debug, PartialEq)]
enum State {
    Vacant,
    /// CONNECT has arrived, the application has not decided.
    Asked,
    /// Let in, and the client cannot know yet.
    Fresh,
    Joined,
}

impl Membership {
    pub(super) fn asked(nsp: &str) -> Self {
        Self {
            nsp: (nsp != "/").then(|| nsp.into()),
            state: State::Asked,
        }
    }

    pub(super) fn is_of(&self, nsp: &str) -> bool {
        self.state != State::Vacant && self.nsp.as_deref().unwrap_or("/") == nsp
    }

    pub(super) fn is_vacant(&self) -> bool {
        self.state == State::Vacant
    }

    pub(super) fn is_joined(&self) -> bool {
        matches!(self.state, State::Fresh | State::Joined)
    }

    /// Whether the client may still ask for it: it does not know that it is in.
    pub(super) fn may_be_asked_again(&self) -> bool {
        self.state != State::Joined
    }

    pub(super) fn join(&mut self) {
        self.state = State::Fresh;
    }

    /// From now on the client may know that it is in.
    pub(super) fn settle(&mut self) {
        if self.state == State::Fresh {
            self.state = State::Joined;
        }
    }

    pub(super) fn vacate(&mut self) {
        self.state = State::Vacant;
        self.nsp = None;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CloseReason, Config, Connection, Handled};
    use crate::engine::{self, Revision};

    fn text(connection: &mut Connection, text: &str) -> Result<Handled, CloseReason> {
        connection.handle_packet(engine::decode(text).unwrap(), 0)
    }

    #[test]
    fn a_client_may_ask_again_as_long_as_it_cannot_know() {
        let mut connection = Connection::new(&Config::default(), Revision::V4, 0);
        let ask = |connection: &mut Connection| match text(connection, "40/a,") {
            Ok(Handled::Connect { again, .. }) => Ok(again),
            other => Err(other),
        };
        assert_eq!(ask(&mut connection), Ok(false));
        // The application has not decided.
        connection.settle();
        assert_eq!(ask(&mut connection), Ok(true));
        assert_eq!(connection.accept("/a"), Some(0));
        // It has, and the answer is still here.
        assert_eq!(ask(&mut connection), Ok(true));
        let early = text(&mut connection, "42/a,[\"e\"]");
        assert_eq!(early, Err(CloseReason::ForcedClose), "not in again yet");
        assert_eq!(connection.accept("/a"), Some(0));
        assert!(text(&mut connection, "42/a,[\"e\"]").is_ok());
        connection.settle();
        let refused = Err(Err(CloseReason::ForcedClose));
        assert_eq!(ask(&mut connection), refused);
    }
}
