//! The launcher and its links: starting daemons, and bytes to and from them.

use std::time::Duration;

use phalanx::wire::control::{FromDaemon, ToDaemon, encode};

use super::link::{Link, TOKENS_PER_DAEMON, is_end};
use super::{FIRST_DAEMON, Launcher, READ_BYTES, narrow};
use crate::control::Event;
use crate::job::Refusal;
use crate::ship::Freight;
use crate::start::{self, Role, bootstrap};
use crate::stream::{Read, read};

impl Launcher {
    /// Begins to start a daemon on every host.
    pub(super) fn start_daemons(&mut self) -> Result<(), Refusal> {
        let (script, own) = self.first_words()?;
        self.own = own;
        let known = start::remote::Known::about(&self.plan.elsewhere.options);
        for host in &self.plan.elsewhere.hosts {
            let link = match host.here {
                true => Link::local(host.name.clone(), start::local::start(Role::Daemon)?),
                false => Link::remote(
                    host.name.clone(),
                    self.plan.elsewhere.options.name(),
                    start::remote::start(&self.plan.elsewhere.options, known, host)?,
                    script.clone(),
                    self.plan.elsewhere.options.patience,
                    self.now(),
                ),
            };
            let base = FIRST_DAEMON + self.links.len() * TOKENS_PER_DAEMON;
            link.register(self.poll.registry(), base)
                .map_err(|error| Refusal::launch(format!("cannot reach {}: {error}", host.name)))?;
            self.links.push(link);
        }
        Ok(())
    }

    /// What runs first on other hosts, if there are any.
    fn first_words(&self) -> Result<(String, Option<Freight>), Refusal> {
        let elsewhere = &self.plan.elsewhere;
        if elsewhere.hosts.iter().all(|host| host.here) {
            return Ok((String::new(), None));
        }
        bootstrap::prepare(&elsewhere.options, Role::Daemon)
            .map_err(|error| Refusal::launch(format!("cannot read this program: {error}")))
    }

    /// Takes in what a daemon says.
    pub(super) fn listen(&mut self, node: usize) {
        let mut buffer = [0_u8; READ_BYTES];
        loop {
            let now = self.now();
            let link = &mut self.links[node];
            let Some(from) = &link.from else { return };
            let heard = match read(from, &mut buffer) {
                Read::Later => return,
                Read::End => {
                    link.from = None;
                    self.ended(node);
                    return;
                }
                Read::Bytes(count) => link.hear(&buffer[..count], self.own.as_ref(), now),
            };
            if let Err(why) = heard {
                self.not_started(node, &why);
                return;
            }
            let heard = Event::Heard { node: narrow(node) };
            self.job.handle(heard, now);
            loop {
                match self.links[node].inbox.next::<FromDaemon>() {
                    Ok(Some(message)) => self.hear(node, message),
                    Ok(None) => break,
                    Err(error) => {
                        self.links[node].from = None;
                        self.lost(node, &error.to_string());
                        return;
                    }
                }
            }
        }
    }

    /// Takes in what ssh and the like say, and what the daemon says on its standard error.
    pub(super) fn listen_to_way(&mut self, node: usize) {
        for line in self.links[node].hear_errors() {
            self.lines[1].say(&format!("phalanx: {line}"));
        }
    }

    /// Nothing more comes from a daemon.
    fn ended(&mut self, node: usize) {
        if self.links[node].next_deadline().is_some() {
            self.not_started(node, "");
        } else {
            self.lost(node, "it ended without a word");
        }
    }

    pub(super) fn lost(&mut self, node: usize, why: &str) {
        let words = self.links[node].last_words();
        self.links[node].abandon();
        self.input.close(node);
        let event = Event::DaemonLost {
            node: narrow(node),
            why: format!("{why}{words}"),
        };
        let now = self.now();
        self.job.handle(event, now);
    }

    /// There will be no daemon on a host. What was seen is said, or what ssh says of it.
    fn not_started(&mut self, node: usize, what: &str) {
        let line = self.links[node].failure(what).line(&self.links[node].host);
        self.links[node].abandon();
        let event = Event::NotStarted {
            node: narrow(node),
            line,
        };
        let now = self.now();
        self.job.handle(event, now);
    }

    /// Gives up on hosts that give no sign of life while they are started.
    pub(super) fn look_after_starts(&mut self, now: Duration) {
        for node in 0..self.links.len() {
            let deadline = self.links[node].next_deadline();
            if deadline.is_some_and(|deadline| deadline <= now) {
                let seconds = self.plan.elsewhere.options.patience.as_secs_f64();
                let what = format!(
                    "it does not answer within {seconds} s; is the host up, and the network? \
                     (--start-timeout)"
                );
                self.not_started(node, &what);
            }
        }
    }

    pub(super) fn send(&mut self, node: usize, message: &ToDaemon) {
        if !self.links[node].is_up() {
            // The only thing to be said to a host that is still being started.
            if is_end(message) {
                self.not_started(node, "the job was ended");
            }
            return;
        }
        match encode(message) {
            Ok(bytes) => self.links[node].outbox.push(bytes),
            Err(error) => self.lost(node, &error.to_string()),
        }
    }

    pub(super) fn send_file(&mut self, node: usize) {
        let Some(sending) = &mut self.links[node].sending else {
            return;
        };
        match sending.pieces(&self.plan.elsewhere.files) {
            Ok((pieces, over)) => {
                if over {
                    self.links[node].sending = None;
                }
                for piece in pieces {
                    self.send(node, &piece);
                }
            }
            Err(what) => self.not_started(node, &what),
        }
    }

    pub(super) fn flush_links(&mut self) {
        let now = self.now();
        for node in 0..self.links.len() {
            if let Err(error) = self.links[node].flush(self.own.as_ref(), now) {
                self.not_started(node, &format!("this program cannot be read: {error}"));
            }
        }
    }
}

impl Drop for Launcher {
    /// Daemons see the end of their input and kill what still runs.
    fn drop(&mut self) {
        for link in &mut self.links {
            link.to = None;
            link.from = None;
        }
        for link in &mut self.links {
            if link.is_local {
                // It has ended, or does now; if it is stuck, waiting would not help.
                let _ = link.child.try_wait();
            } else {
                link.leave();
            }
        }
    }
}
