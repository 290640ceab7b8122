//! Who gives the hosts: the command line, else the allocation that we are in, else this machine.

mod allocation;
mod here;
mod syntax;

pub(crate) use here::own_name;
pub(crate) use syntax::Host;

use allocation::Surroundings;

/// The hosts of a job, and who gave them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// At least one. This host is among them once at most, under the name that it gives itself.
    pub(crate) hosts: Vec<Host>,
    /// Who gave them; none when nobody did, and it is this machine.
    pub(crate) by: Option<String>,
}

/// A list of hosts on the command line.
///
/// # Errors
///
/// One line, when it is not understood.
pub(crate) fn list(text: &str) -> Result<Vec<Host>, String> {
    syntax::list::parse(text).map_err(|mistake| mistake.in_value("--host", text))
}

/// Finds the hosts.
///
/// # Errors
///
/// One line, when a file or a variable is not understood.
pub(crate) fn find(lists: &[std::sync::Arc<[Host]>], files: &[String]) -> Result<Found, String> {
    let around = Surroundings {
        variable: &|name| std::env::var(name).ok(),
        read: &|path| std::fs::read(path),
    };
    let given = if !lists.is_empty() {
        let hosts = lists.iter().flat_map(|list| list.iter().cloned()).collect();
        Some((hosts, "--host".to_owned()))
    } else if !files.is_empty() {
        let mut hosts = Vec::new();
        for file in files {
            hosts.extend(around.file(file, file)?.0);
        }
        Some((hosts, files.join(", ")))
    } else {
        around.allocation()?
    };
    Ok(match given {
        Some((hosts, by)) => Found {
            hosts: with_one_here(hosts),
            by: Some(by),
        },
        None => Found {
            hosts: vec![Host {
                here: true,
                ..Host::new(own_name(), cores_here())
            }],
            by: None,
        },
    })
}

/// This machine as so many hosts, each with an equal share of the ranks.
pub(crate) fn pretended(hosts: u32, ranks: u32) -> Vec<Host> {
    let share = |at: u32| ranks / hosts + u32::from(at < ranks % hosts);
    let host = |at| Host {
        here: true,
        ..Host::new(format!("{}-{at}", own_name()), share(at))
    };
    (0..hosts.min(ranks.max(1))).map(host).collect()
}

/// The cores of this host that may be used.
pub(crate) fn cores_here() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1))
}

/// All mentions of this host become one, with the name that it gives itself.
fn with_one_here(hosts: Vec<Host>) -> Vec<Host> {
    syntax::merged(hosts.into_iter().map(|host| {
        if here::is_here(&host) {
            let name = own_name();
            let user = None;
            Host {
                name,
                user,
                here: true,
                ..host
            }
        } else {
            host
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_is_one_whatever_it_is_called() {
        let hosts = list("other.invalid:2,localhost,127.0.0.1:3").expect("a list");
        let found = find(&[hosts.into()], &[]).expect("hosts");
        let here = Host {
            here: true,
            ..Host::new(own_name(), 4)
        };
        assert_eq!(found.hosts, [Host::new("other.invalid", 2), here]);
        assert_eq!(found.by.as_deref(), Some("--host"));
    }

    #[test]
    fn a_missing_hostfile_is_named() {
        let error = find(&[], &["no/such/file".to_owned()]).expect_err("missing");
        assert!(error.starts_with("no/such/file: cannot read"), "{error}");
    }
}
