//! What is broken on purpose, one at a time, to see that it is noticed.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sabotage {
    /// The bus loses a message now and then.
    LoseSome,
    /// Messages overtake each other on their way to a pod.
    MessagesOvertake,
    /// The store publishes another revision than it has written.
    WrongRevision,
    /// The bus delivers requests and answers twice.
    AnswersComeTwice,
    /// A pod that comes back forgets the pattern of its namespace.
    ForgetSubscription,
    /// A pod that comes back forgets the channels of its rooms.
    ForgetRooms,
    /// A pod leaves a room's channel although somebody has come back.
    LeaveRooms,
    /// A pod tells others to join a room behind what it emits to it.
    TellLate,
    /// A link that has gone deaf never wakes.
    LinkSleeps,
    /// A link never asks itself whether it hears.
    LinkNeverProbes,
    /// A link is given up now and then for no reason.
    LinkGivesUp,
    /// A pod delivers what comes back of its own although it has been delivered.
    DeliverOwn,
    /// A pod delivers to everybody.
    IgnoreRooms,
    /// A pod delivers ordered messages when it publishes them.
    OrderedAtOnce,
    /// A pod does not deliver what has not come back in time.
    ForgetOverdue,
    /// A pod does not end requests.
    RequestsWaitForEver,
    /// A pod is counted and does not answer.
    OneIsMute,
    /// A pod does not show its node what is for other rooms.
    SkipOtherRooms,
    /// A pod does not remove members.
    KeepMembers,
}
