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
        self.state == State::Joined
    }

    pub(super) fn join(&mut self) {
        self.state = State::Joined;
    }

    pub(super) fn vacate(&mut self) {
        self.state = State::Vacant;
        self.nsp = None;
    }
}
