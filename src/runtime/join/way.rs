//! How this process was started, as its environment tells. Pure.

use std::time::Duration;

use crate::limits::{RANKS_MAX, RENDEZVOUS_SECONDS};
use crate::wire::pmi::Dialect;

/// How a process that `phalanx run` did not start finds the other ranks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It is alone.
    Alone,
    /// A process manager that speaks PMI brings them together.
    Pmi {
        descriptor: i32,
        dialect: Dialect,
        place: Place,
    },
    /// Rank 0 listens at a known address, `host:port`.
    Rendezvous { address: String, place: Place },
}

/// Which of how many ranks this is, and how long to wait for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) rank: u32,
    pub(super) size: u32,
    pub(super) limit: Duration,
}

type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads the environment.
///
/// # Errors
///
/// One line that names the variable that is wrong or missing.
pub(super) fn find(variable: Lookup<'_>) -> Result<Way, String> {
    let limit = limit(variable)?;
    if let Some(descriptor) = number(variable, &["PMI_FD"])? {
        let rank = required(variable, &["PMI_RANK"])?;
        let size = required(variable, &["PMI_SIZE"])?;
        // Slurm names the job; Hydra, which may run inside of Slurm, does not.
        let slurm = variable("PMI_JOBID").is_some();
        let dialect = if slurm { Dialect::Two } else { Dialect::One };
        let place = place(rank, size, limit)?;
        if size == 1 {
            return Ok(Way::Alone);
        }
        return Ok(Way::Pmi {
            descriptor: i32::try_from(descriptor).unwrap_or(i32::MAX),
            dialect,
            place,
        });
    }
    let Some(address) = address(variable)? else {
        return Ok(Way::Alone);
    };
    let rank = required(variable, &["PHALANX_RANK", "JOB_COMPLETION_INDEX", "RANK"])?;
    let size = required(variable, &["PHALANX_SIZE", "WORLD_SIZE"])?;
    let place = place(rank, size, limit)?;
    if size == 1 {
        return Ok(Way::Alone);
    }
    Ok(Way::Rendezvous { address, place })
}

fn address(variable: Lookup<'_>) -> Result<Option<String>, String> {
    if let Some(address) = variable("PHALANX_RENDEZVOUS") {
        let port = address
            .rsplit_once(':')
            .map(|(_, port)| port.parse::<u16>());
        return match port {
            Some(Ok(port)) if port > 0 => Ok(Some(address)),
            _ => Err(format!(
                "PHALANX_RENDEZVOUS={address} is not the address of rank 0: write host:port, the same \
                 for all ranks"
            )),
        };
    }
    match (variable("MASTER_ADDR"), variable("MASTER_PORT")) {
        (Some(host), Some(port)) if variable("RANK").is_some() => {
            let host = if host.contains(':') {
                format!("[{host}]")
            } else {
                host
            };
            let port = master_port(variable, &port)?;
            Ok(Some(format!("{host}:{port}")))
        }
        _ => Ok(None),
    }
}

/// Where torchrun's agent keeps a store of its own at the port that it tells, ranks meet at the next one.
fn master_port(variable: Lookup<'_>, text: &str) -> Result<u16, String> {
    let agent = variable("TORCHELASTIC_USE_AGENT_STORE").is_some_and(|text| text == "True");
    let port = text.trim().parse::<u16>().ok().filter(|&port| port > 0);
    let port = port.and_then(|port| port.checked_add(u16::from(agent)));
    port.ok_or_else(|| format!("MASTER_PORT={text} is not a port at which ranks can meet"))
}

fn limit(variable: Lookup<'_>) -> Result<Duration, String> {
    let name = "PHALANX_RENDEZVOUS_TIMEOUT";
    let Some(text) = variable(name) else {
        return Ok(Duration::from_secs(RENDEZVOUS_SECONDS));
    };
    let seconds = text.trim().parse::<f64>().ok();
    let limit = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let limit = limit.filter(|limit| *limit < Duration::from_secs(1 << 32));
    limit.ok_or_else(|| format!("{name}={text} is not a number of seconds"))
}

fn place(rank: u64, size: u64, limit: Duration) -> Result<Place, String> {
    if size == 0 || size > RANKS_MAX as u64 || rank >= size {
        return Err(format!(
            "the environment says that this is rank {rank} of {size}: ranks are 0 to size - 1, and \
             there can be {RANKS_MAX}"
        ));
    }
    let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    Ok(Place {
        rank: narrow(rank),
        size: narrow(size),
        limit,
    })
}

fn required(variable: Lookup<'_>, names: &[&str]) -> Result<u64, String> {
    number(variable, names)?.ok_or_else(|| {
        format!(
            "the environment names a place where ranks meet, but {} is not set",
            names.join(" or ")
        )
    })
}

fn number(variable: Lookup<'_>, names: &[&str]) -> Result<Option<u64>, String> {
    for name in names {
        if let Some(text) = variable(name) {
            let number = text.trim().parse::<u64>();
            return number
                .map(Some)
                .map_err(|_| format!("{name}={text} is not a whole number"));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(set: &[(&str, &str)]) -> Result<Way, String> {
        find(&|asked| {
            let value = set.iter().find(|(name, _)| *name == asked);
            value.map(|(_, value)| (*value).to_owned())
        })
    }

    fn meets(set: &[(&str, &str)]) -> (String, u32, u32) {
        match found(set).expect("a way") {
            Way::Rendezvous { address, place } => (address, place.rank, place.size),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_way_is_recognised() {
        assert_eq!(found(&[]), Ok(Way::Alone));
        let own = [
            ("PHALANX_RENDEZVOUS", "a:7"),
            ("PHALANX_RANK", "1"),
            ("PHALANX_SIZE", "3"),
        ];
        assert_eq!(meets(&own), ("a:7".into(), 1, 3));
        let torchrun = [
            ("MASTER_ADDR", "fd00::1"),
            ("MASTER_PORT", "7"),
            ("RANK", "2"),
            ("WORLD_SIZE", "4"),
        ];
        assert_eq!(meets(&torchrun), ("[fd00::1]:7".into(), 2, 4));
        let agent = [&torchrun[..], &[("TORCHELASTIC_USE_AGENT_STORE", "True")]].concat();
        assert_eq!(meets(&agent), ("[fd00::1]:8".into(), 2, 4));
        let indexed = [
            ("PHALANX_RENDEZVOUS", "ring-0.ring:7777"),
            ("JOB_COMPLETION_INDEX", "3"),
            ("WORLD_SIZE", "4"),
        ];
        assert_eq!(meets(&indexed), ("ring-0.ring:7777".into(), 3, 4));
        let hydra = [("PMI_FD", "5"), ("PMI_RANK", "1"), ("PMI_SIZE", "2")];
        let slurm = [&hydra[..], &[("PMI_JOBID", "7.0")]].concat();
        for (set, expected) in [(&hydra[..], Dialect::One), (&slurm, Dialect::Two)] {
            match found(set).expect("a way") {
                Way::Pmi { dialect, .. } => assert_eq!(dialect, expected),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let missing = found(&[("PHALANX_RENDEZVOUS", "a:7"), ("RANK", "1")]);
        let missing = missing.expect_err("no size");
        assert!(missing.contains("PHALANX_SIZE or WORLD_SIZE"), "{missing}");
        let port = found(&[("PHALANX_RENDEZVOUS", "a")]).expect_err("no port");
        assert!(port.contains("host:port"), "{port}");
        let outside = [
            ("PHALANX_RENDEZVOUS", "a:7"),
            ("RANK", "4"),
            ("WORLD_SIZE", "4"),
        ];
        let outside = found(&outside).expect_err("no such rank");
        assert!(outside.contains("rank 4 of 4"), "{outside}");
    }
}
