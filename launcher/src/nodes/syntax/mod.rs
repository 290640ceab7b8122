//! Texts that name hosts, as people and batch systems write them. Pure: text in, hosts or a mistake out.

pub(crate) mod grammar;
pub(crate) mod hostfile;
pub(crate) mod list;
pub(crate) mod lsf;
pub(crate) mod slurm;

/// Most slots that one host may be given.
pub(crate) const COUNT_MAX: u32 = 1 << 20;

/// A host that can run ranks, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    /// Its name or address; an IPv6 address has no brackets here.
    pub(crate) name: String,
    /// Who logs in there, when it is not the present user's name.
    pub(crate) user: Option<String>,
    /// Where its ssh server listens, when not at the usual port.
    pub(crate) port: Option<u16>,
    /// The interface or network through which its ranks talk to other hosts.
    pub(crate) interface: Option<String>,
    /// Ranks it would like to run; more are allowed up to `max_slots`.
    pub(crate) slots: u32,
    /// Ranks it will run at most.
    pub(crate) max_slots: Option<u32>,
    /// It is the one we are on, so nobody's help is needed to start a program there.
    pub(crate) here: bool,
}

impl Host {
    /// A host of which nothing is known but its name and its slots.
    pub(crate) fn new(name: impl Into<String>, slots: u32) -> Self {
        Self {
            name: name.into(),
            user: None,
            port: None,
            interface: None,
            slots,
            max_slots: None,
            here: false,
        }
    }

    /// Adds the slots of another mention of this host.
    pub(crate) fn absorb(&mut self, other: &Self) {
        self.slots = self.slots.saturating_add(other.slots);
        self.max_slots = match (self.max_slots, other.max_slots) {
            (Some(ours), Some(theirs)) => Some(ours.saturating_add(theirs)),
            (limit, None) | (None, limit) => limit,
        };
        if self.interface.is_none() {
            self.interface.clone_from(&other.interface);
        }
    }
}

/// Each host once, where it was first named, with the slots of all its mentions.
pub(crate) fn merged(hosts: impl IntoIterator<Item = Host>) -> Vec<Host> {
    type Key = (String, Option<String>, Option<u16>);
    let mut place_of = std::collections::HashMap::<Key, usize>::new();
    let mut all: Vec<Host> = Vec::new();
    for host in hosts {
        let key = (host.name.clone(), host.user.clone(), host.port);
        match place_of.get(&key) {
            Some(place) => all[*place].absorb(&host),
            None => {
                place_of.insert(key, all.len());
                all.push(host);
            }
        }
    }
    all
}

/// What is wrong in a text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// From 1.
    pub(crate) line: usize,
    /// In characters, from 1.
    pub(crate) column: usize,
    pub(crate) expected: String,
    pub(crate) found: String,
}

impl Mistake {
    /// One line about a mistake in this file.
    pub(crate) fn in_file(&self, file: &str) -> String {
        let Self {
            line,
            column,
            expected,
            found,
        } = self;
        format!("{file}:{line}:{column}: expected {expected}, but found {found}")
    }

    /// One line about a mistake in the value of this option or variable.
    pub(crate) fn in_value(&self, name: &str, value: &str) -> String {
        let Self {
            column,
            expected,
            found,
            ..
        } = self;
        format!(
            "{name}, column {column} of `{}`: expected {expected}, but found {found}",
            grammar::shown(value)
        )
    }
}

#[cfg(test)]
mod tests;
