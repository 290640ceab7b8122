//! Programs as data: what each rank calls, in order.

/// What every rank of a job does, by rank.
pub(crate) type Program = Vec<Vec<Step>>;

/// One thing that a rank does. Each has a place of its own in the source, see [`sites`](crate::sites).
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// A collective; a nonblocking one is begun and waited for.
    Collective(Collective),
    /// A nonblocking collective is begun.
    Begin(Collective),
    Send(Send),
    Receive(Receive),
    /// Both at once, blocking.
    Exchange(Send, Receive),
    /// For everything that was begun and is not done.
    WaitAll,
    /// What was begun is dropped.
    DropAll,
    /// What was begun is forgotten: nothing of it is ever told to the library.
    ForgetAll,
    /// Messages have time to come in.
    Pause,
    /// A message of each of these ranks is there.
    Sight(Vec<usize>),
    /// The process ends here, with success.
    Exit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Barrier,
    Bcast,
    Gather,
    Scatter,
    Allgather,
    Alltoall,
    Reduce,
    Allreduce,
    Scan,
    Exscan,
    ReduceScatterBlock,
    // From here on there are no nonblocking forms.
    Gatherv,
    Scatterv,
    Allgatherv,
    Alltoallv,
    ReduceScatter,
    Split,
}

impl Kind {
    pub(crate) const ALL: [Self; 17] = [
        Self::Barrier,
        Self::Bcast,
        Self::Gather,
        Self::Scatter,
        Self::Allgather,
        Self::Alltoall,
        Self::Reduce,
        Self::Allreduce,
        Self::Scan,
        Self::Exscan,
        Self::ReduceScatterBlock,
        Self::Gatherv,
        Self::Scatterv,
        Self::Allgatherv,
        Self::Alltoallv,
        Self::ReduceScatter,
        Self::Split,
    ];

    pub(crate) fn can_be_nonblocking(self) -> bool {
        (self as u8) < Self::Gatherv as u8
    }

    pub(crate) fn has_root(self) -> bool {
        matches!(
            self,
            Self::Bcast
                | Self::Gather
                | Self::Scatter
                | Self::Reduce
                | Self::Gatherv
                | Self::Scatterv
        )
    }

    pub(crate) fn has_operator(self) -> bool {
        matches!(
            self,
            Self::Reduce
                | Self::Allreduce
                | Self::Scan
                | Self::Exscan
                | Self::ReduceScatterBlock
                | Self::ReduceScatter
        )
    }

    pub(crate) fn has_elements(self) -> bool {
        !matches!(self, Self::Barrier | Self::Split)
    }

    /// All ranks have to name the same number of elements.
    pub(crate) fn has_equal_counts(self) -> bool {
        self.has_elements()
            && !matches!(
                self,
                Self::Gatherv | Self::Scatterv | Self::Allgatherv | Self::Alltoallv
            )
    }

    /// Lengths first, then elements.
    pub(crate) fn is_two(self) -> bool {
        self.has_elements() && !self.has_equal_counts()
    }

    /// No rank can leave before all have come, whatever is buffered.
    pub(crate) fn synchronises(self) -> bool {
        !(self.has_root() || matches!(self, Self::Scan | Self::Exscan))
    }
}

/// The communicator of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    World,
    /// One that all ranks made of the world.
    Dup,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Sum,
    Max,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    U32,
    I32,
    F64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Collective {
    pub(crate) kind: Kind,
    pub(crate) nonblocking: bool,
    pub(crate) on: On,
    pub(crate) root: usize,
    pub(crate) operator: Operator,
    pub(crate) element: Element,
    /// Of a rank's block.
    pub(crate) count: usize,
    /// Elements or counts that do not fit the call.
    pub(crate) misfit: bool,
}

impl Collective {
    pub(crate) const fn new(kind: Kind, nonblocking: bool) -> Self {
        Self {
            kind,
            nonblocking,
            on: On::World,
            root: 0,
            operator: Operator::Sum,
            element: Element::U32,
            count: 3,
            misfit: false,
        }
    }

    /// All that exist.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Kind::ALL.into_iter().flat_map(|kind| {
            let blocking = Self::new(kind, false);
            let nonblocking = kind.can_be_nonblocking().then(|| Self::new(kind, true));
            std::iter::once(blocking).chain(nonblocking)
        })
    }

    /// As users know it.
    pub(crate) fn name(self) -> String {
        let letter = if self.nonblocking { "i" } else { "" };
        letter.to_owned() + &snake(&format!("{:?}", self.kind))
    }

    pub(crate) const fn rooted_at(self, root: usize) -> Self {
        Self { root, ..self }
    }

    pub(crate) const fn on(self, on: On) -> Self {
        Self { on, ..self }
    }
}

/// `ReduceScatter` as `reduce_scatter`.
pub(crate) fn snake(camel: &str) -> String {
    let mut name = String::new();
    for (index, letter) in camel.chars().enumerate() {
        if letter.is_ascii_uppercase() && index > 0 {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HowToSend {
    Send,
    Ssend,
    /// Begun and waited for at once.
    Isend,
    Issend,
    /// Begun; waited for by a later step.
    BeginIsend,
    BeginIssend,
}

impl HowToSend {
    /// Those that are complete after the call.
    pub(crate) const AT_ONCE: [Self; 4] = [Self::Send, Self::Ssend, Self::Isend, Self::Issend];

    /// It waits for the receiver, however short the message is.
    pub(crate) fn waits(self) -> bool {
        matches!(self, Self::Ssend | Self::Issend)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HowToReceive {
    RecvInto,
    RecvVec,
    Irecv,
    IrecvVec,
    /// A probe, and then a receive of what it found.
    Probe,
    /// Looks again and again, with `iprobe`.
    Iprobe,
    /// Begun, and looked at again and again.
    Test,
    /// Begun; waited for by a later step.
    BeginIrecv,
}

impl HowToReceive {
    /// Those that are complete after the call.
    pub(crate) const AT_ONCE: [Self; 5] = [
        Self::RecvInto,
        Self::RecvVec,
        Self::Irecv,
        Self::IrecvVec,
        Self::Probe,
    ];

    /// Those that never sleep.
    pub(crate) const POLLING: [Self; 2] = [Self::Iprobe, Self::Test];
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Send {
    pub(crate) how: HowToSend,
    pub(crate) to: usize,
    /// None is any tag, with which nothing can be sent.
    pub(crate) tag: Option<i64>,
    pub(crate) on: On,
    pub(crate) element: Element,
    pub(crate) count: usize,
}

impl Send {
    pub(crate) const fn new(how: HowToSend, to: usize) -> Self {
        Self {
            how,
            to,
            tag: Some(5),
            on: On::World,
            element: Element::U32,
            count: 4,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Receive {
    pub(crate) how: HowToReceive,
    /// None is any.
    pub(crate) from: Option<usize>,
    pub(crate) tag: Option<i64>,
    pub(crate) on: On,
    pub(crate) element: Element,
    pub(crate) count: usize,
}

impl Receive {
    pub(crate) const fn new(how: HowToReceive, from: usize) -> Self {
        Self {
            how,
            from: Some(from),
            tag: Some(5),
            on: On::World,
            element: Element::U32,
            count: 4,
        }
    }
}
