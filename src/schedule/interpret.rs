//! Runs the schedules of all ranks in memory, for tests.
//!
//! [`Job::new`] checks what can be told from the steps alone (see the rules in [`crate::schedule`]), above
//! all that no two steps that may run at the same time touch the same element, one of them writing.
//! [`Job::run`] then executes them over any kind of element, in an order that the caller chooses at each
//! turn, and finds deadlocks and elements that are read before they are written.

mod checks;

use std::fmt;

use checks::{check_races, check_steps, match_messages};

use super::{Order, Schedule, Span, Step};

/// What is wrong with a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// A span passes the end of its buffer.
    Bounds(Span),
    /// The input is written.
    InputWritten,
    /// The spans of a copy or reduction differ in length or overlap.
    Operands,
    /// The step depends on itself or a later one.
    Forward,
    /// The peer does not exist or is the rank itself.
    Peer,
    /// The round is not below [`super::ROUNDS_MAX`].
    Round,
    /// Two messages from one rank to another share a round.
    RoundTwice,
    /// There is no matching send or receive.
    Unmatched,
    /// The message is not of the length that the receiver expects.
    Length,
    /// The step and this other one may run at the same time, and do not only read.
    Race(usize),
    /// The step reads an element that nobody has written.
    Uninitialised(Span),
    /// The step never starts, or waits for its peer for ever.
    Deadlock,
}

/// A step that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Whose step.
    pub rank: usize,
    /// Its number.
    pub number: usize,
    /// The step.
    pub step: Step,
    /// The rule.
    pub wrong: Wrong,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "rank {}, step {} ({:?}): {:?}",
            self.rank, self.number, self.step, self.wrong
        )
    }
}

impl std::error::Error for Fault {}

/// What a rank brings, and what it has in the end. `None` is an element that was never written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory<E> {
    /// [`super::Place::Input`].
    pub input: Vec<Option<E>>,
    /// [`super::Place::Output`].
    pub output: Vec<Option<E>>,
}

/// When a send is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// When the message has arrived: what deadlocks at all deadlocks so.
    Synchronous,
    /// Each message at random so, or as soon as it is sent.
    Mixed,
}

/// The schedules of all ranks, checked.
#[derive(Debug)]
pub struct Job<'a> {
    schedules: &'a [Schedule],
    /// For each rank and step the matching step of the peer.
    matching: Vec<Vec<usize>>,
}

impl<'a> Job<'a> {
    /// Checks the schedules of all ranks; `lengths` are those of each rank's input and output.
    ///
    /// # Errors
    ///
    /// The first rule that is broken.
    pub fn new(schedules: &'a [Schedule], lengths: &[(usize, usize)]) -> Result<Self, Fault> {
        assert_eq!(schedules.len(), lengths.len());
        for (rank, (schedule, lengths)) in schedules.iter().zip(lengths).enumerate() {
            let fault = |(number, wrong)| Fault {
                rank,
                number,
                step: schedule.steps[number],
                wrong,
            };
            check_steps(schedule, rank, schedules.len(), *lengths).map_err(fault)?;
            check_races(schedule).map_err(fault)?;
        }
        Ok(Self {
            schedules,
            matching: match_messages(schedules)?,
        })
    }

    /// Executes all steps. Where several may happen next, `choose` is asked for a number below theirs;
    /// `combine` gets the left operand first.
    ///
    /// # Errors
    ///
    /// A step that reads what was never written, or that can never be complete.
    pub fn run<E: Clone>(
        &self,
        memories: Vec<Memory<E>>,
        combine: impl Fn(&E, &E) -> E,
        delivery: Delivery,
        mut choose: impl FnMut(usize) -> usize,
    ) -> Result<Vec<Memory<E>>, Fault> {
        let mut run = Run::new(self, memories);
        while !run.events.is_empty() {
            let chosen = choose(run.events.len());
            match run.events.swap_remove(chosen) {
                Event::Start(rank, number) => {
                    let eager = delivery == Delivery::Mixed
                        && matches!(self.schedules[rank].steps[number], Step::Send { .. })
                        && choose(2) == 0;
                    run.start(rank, number, eager, &combine)?;
                }
                Event::Deliver(rank, number) => run.deliver(rank, number)?,
            }
        }
        run.finish()
    }
}

enum Event {
    /// What a step waits for is complete.
    Start(usize, usize),
    /// A receive has begun, and its send too.
    Deliver(usize, usize),
}

#[derive(Clone)]
enum State<E> {
    /// That many steps are still to be complete.
    Waiting(usize),
    /// The peer is awaited.
    Begun,
    /// Sent, and the sender has gone on.
    Posted(Vec<E>),
    Complete,
}

struct Run<'a, E> {
    job: &'a Job<'a>,
    /// The buffers of each rank, by place.
    buffers: Vec<[Vec<Option<E>>; 3]>,
    states: Vec<Vec<State<E>>>,
    dependents: Vec<super::Dependencies>,
    events: Vec<Event>,
}

impl<'a, E: Clone> Run<'a, E> {
    fn new(job: &'a Job<'a>, memories: Vec<Memory<E>>) -> Self {
        let schedules = job.schedules;
        let buffers = memories
            .into_iter()
            .zip(schedules)
            .map(|(memory, schedule)| [memory.input, memory.output, vec![None; schedule.scratch]])
            .collect();
        let mut events = Vec::new();
        let mut states = Vec::new();
        for (rank, schedule) in schedules.iter().enumerate() {
            let waiting = |number| schedule.after.of(number).len();
            let steps = 0..schedule.steps.len();
            events.extend(
                steps
                    .clone()
                    .filter(|n| waiting(*n) == 0)
                    .map(|n| Event::Start(rank, n)),
            );
            states.push(
                steps
                    .map(|number| State::Waiting(waiting(number)))
                    .collect(),
            );
        }
        let dependents = schedules
            .iter()
            .map(|schedule| schedule.after.reversed())
            .collect();
        Self {
            job,
            buffers,
            states,
            dependents,
            events,
        }
    }

    fn start(
        &mut self,
        rank: usize,
        number: usize,
        eager: bool,
        combine: impl Fn(&E, &E) -> E,
    ) -> Result<(), Fault> {
        match self.job.schedules[rank].steps[number] {
            Step::Copy { from, into } => {
                let values = self.read(rank, number, from)?;
                self.write(rank, into, values);
                self.complete(rank, number);
            }
            Step::Reduce { from, into, order } => {
                let from = self.read(rank, number, from)?;
                let old = self.read(rank, number, into)?;
                let values = old.iter().zip(&from).map(|(old, from)| match order {
                    Order::IntoFrom => combine(old, from),
                    Order::FromInto => combine(from, old),
                });
                self.write(rank, into, values.collect());
                self.complete(rank, number);
            }
            Step::Send { to, from, .. } => {
                let receive = self.job.matching[rank][number];
                if eager {
                    let values = self.read(rank, number, from)?;
                    self.complete(rank, number);
                    self.states[rank][number] = State::Posted(values);
                } else {
                    self.states[rank][number] = State::Begun;
                }
                if matches!(self.states[to][receive], State::Begun) {
                    self.events.push(Event::Deliver(to, receive));
                }
            }
            Step::Receive { from, .. } => {
                let send = self.job.matching[rank][number];
                self.states[rank][number] = State::Begun;
                if matches!(self.states[from][send], State::Begun | State::Posted(_)) {
                    self.events.push(Event::Deliver(rank, number));
                }
            }
        }
        Ok(())
    }

    fn deliver(&mut self, rank: usize, number: usize) -> Result<(), Fault> {
        let Step::Receive {
            from: peer, into, ..
        } = self.job.schedules[rank].steps[number]
        else {
            unreachable!("only receives are delivered to");
        };
        let send = self.job.matching[rank][number];
        let values = match std::mem::replace(&mut self.states[peer][send], State::Complete) {
            State::Posted(values) => values,
            _ => {
                let Step::Send { from, .. } = self.job.schedules[peer].steps[send] else {
                    unreachable!("receives match sends");
                };
                let values = self.read(peer, send, from)?;
                self.complete(peer, send);
                values
            }
        };
        self.write(rank, into, values);
        self.complete(rank, number);
        Ok(())
    }

    fn complete(&mut self, rank: usize, number: usize) {
        self.states[rank][number] = State::Complete;
        for &later in self.dependents[rank].of(number) {
            let later = later as usize;
            if let State::Waiting(number) = &mut self.states[rank][later] {
                *number -= 1;
                if *number == 0 {
                    self.events.push(Event::Start(rank, later));
                }
            }
        }
    }

    fn read(&self, rank: usize, number: usize, span: Span) -> Result<Vec<E>, Fault> {
        let buffer = &self.buffers[rank][span.place as usize];
        buffer[span.offset..span.end()]
            .iter()
            .cloned()
            .collect::<Option<_>>()
            .ok_or_else(|| {
                let step = self.job.schedules[rank].steps[number];
                Fault {
                    rank,
                    number,
                    step,
                    wrong: Wrong::Uninitialised(span),
                }
            })
    }

    fn write(&mut self, rank: usize, span: Span, values: Vec<E>) {
        let buffer = &mut self.buffers[rank][span.place as usize];
        for (element, value) in buffer[span.offset..span.end()].iter_mut().zip(values) {
            *element = Some(value);
        }
    }

    fn finish(self) -> Result<Vec<Memory<E>>, Fault> {
        for (rank, states) in self.states.iter().enumerate() {
            let stuck = states
                .iter()
                .position(|state| !matches!(state, State::Complete));
            if let Some(number) = stuck {
                let step = self.job.schedules[rank].steps[number];
                return Err(Fault {
                    rank,
                    number,
                    step,
                    wrong: Wrong::Deadlock,
                });
            }
        }
        let memory = |[input, output, _]: [Vec<Option<E>>; 3]| Memory { input, output };
        Ok(self.buffers.into_iter().map(memory).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::builder::{Builder, Id};
    use super::*;

    /// The two schedules that `make` builds, on two outputs of four elements.
    fn fault(make: impl Fn(&mut Builder)) -> Wrong {
        let schedules = [0, 1].map(|rank| {
            let mut builder = Builder::new("test", rank, 2, 8);
            make(&mut builder);
            builder.finish()
        });
        let memory = Memory {
            input: vec![Some(1); 4],
            output: vec![None; 4],
        };
        Job::new(&schedules, &[(4, 4); 2])
            .and_then(|job| {
                job.run(
                    vec![memory; 2],
                    |one, two| one + two,
                    Delivery::Synchronous,
                    |_| 0,
                )
            })
            .expect_err("a fault")
            .wrong
    }

    const INPUT: Span = Span::input(4);
    const OUTPUT: Span = Span::output(4);

    #[test]
    fn races_are_found() {
        let wrong = fault(|b| {
            let other = 1 - b.rank;
            b.receive(other, OUTPUT.part(0, 2), 0, &[]);
            b.send(other, INPUT.part(0, 2), 0, &[]);
            b.copy(INPUT.part(2, 2), OUTPUT.part(1, 2), &[]);
        });
        assert_eq!(wrong, Wrong::Race(0));
    }

    #[test]
    fn order_through_other_steps_is_no_race() {
        let wrong = fault(|b| {
            let first = b.copy(INPUT, OUTPUT, &[]);
            let second = b.join(&[first]);
            b.copy(INPUT, OUTPUT, &[second]);
            b.notify(1 - b.rank, OUTPUT, 0, &[second]);
        });
        assert_eq!(wrong, Wrong::Race(2), "only the send is not ordered");
    }

    #[test]
    fn unwritten_elements_are_found() {
        let wrong = fault(|b| {
            let scratch = b.scratch(4);
            let copied = b.copy(INPUT.part(0, 3), scratch.part(0, 3), &[]);
            b.copy(scratch, OUTPUT, &[copied]);
        });
        assert!(matches!(wrong, Wrong::Uninitialised(_)));
    }

    #[test]
    fn deadlocks_are_found() {
        let wrong = fault(|b| {
            let sent = b.send(1 - b.rank, INPUT, 0, &[]);
            b.receive(1 - b.rank, OUTPUT, 0, &[sent]);
        });
        assert_eq!(wrong, Wrong::Deadlock);
    }

    #[test]
    fn messages_must_match() {
        let exchange = |b: &mut Builder, round: u32, length: usize| {
            b.send(1 - b.rank, INPUT, 0, &[]);
            b.receive(1 - b.rank, OUTPUT.part(0, length), round, &[]);
        };
        assert_eq!(fault(|b| exchange(b, 1, 4)), Wrong::Unmatched);
        assert_eq!(fault(|b| exchange(b, 0, 3)), Wrong::Length);
        assert_eq!(
            fault(|b| {
                exchange(b, 0, 4);
                b.send(1 - b.rank, INPUT, 0, &[]);
            }),
            Wrong::RoundTwice
        );
    }

    #[test]
    fn spans_are_checked() {
        let outside = Span {
            length: 5,
            ..OUTPUT
        };
        let wrong = fault(|b| {
            b.notify(1 - b.rank, outside, 0, &[Id::NONE]);
        });
        assert_eq!(wrong, Wrong::Bounds(outside));
        let wrong = fault(|b| {
            b.await_notice(1 - b.rank, INPUT, 0, &[]);
        });
        assert_eq!(wrong, Wrong::InputWritten);
        let wrong = fault(|b| {
            b.reduce(OUTPUT.part(0, 3), OUTPUT.part(1, 3), Order::IntoFrom, &[]);
        });
        assert_eq!(wrong, Wrong::Operands);
    }
}
